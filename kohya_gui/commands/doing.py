"""What each command does: the same calls as the page and the REST routes make."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from kohya_gui.arguments import WORKSPACE_VARIABLE
from kohya_gui.commands.arguments import command_parser
from kohya_gui.commands.follow import follow
from kohya_gui.commands.secret import run_secret
from kohya_gui.jobs import stop
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.notify import Notifier, webhook_address
from kohya_gui.jobs.queue import JobQueue, Queued, Refused, Submitted
from kohya_gui.jobs.store import RunStore, RunSummary
from kohya_gui.jobs.submitting import (
    MAX_TOML_BYTES,
    Given,
    given_jobs,
    requests_of,
    several_told,
)
from kohya_gui.jobs.told import problems_told, queue_told, run_told, status_told
from kohya_gui.settings import load_settings
from kohya_gui.workspace import open_workspace
from sd_scripts.errors import EXIT_OK, UserError

QUEUE_SECONDS: Final = 2.0
_WHO_MOVES: Final = (
    "The queue moves on while a GUI is open on this workspace, or while "
    "`python -m kohya_gui queue --work` is running."
)


def run_command(argv: Sequence[str]) -> int:
    """Do what a command says; return its exit code. Raises `UserError`."""
    flags = command_parser().parse_args(argv)
    if flags.word == "secret":
        return run_secret(flags)
    return _Commands(flags).do()


class _Commands:
    """One command with its flags, on its workspace."""

    def __init__(self, flags: argparse.Namespace) -> None:
        self._flags = flags
        folder = flags.workspace or os.environ.get(WORKSPACE_VARIABLE)
        self._workspace = open_workspace(Path(folder) if folder else None)
        self._store = RunStore(self._workspace)
        self._queue = JobQueue(self._workspace, self._store)

    def do(self) -> int:
        """Carry the command out."""
        match self._flags.word:
            case "runs":
                return self._runs()
            case "show":
                return self._show(self._run())
            case "submit":
                return self._submit()
            case "queue":
                return self._work() if self._flags.work else self._change_queue()
            case "follow":
                return follow(self._store, self._run(), as_json=self._flags.json)
        return self._ask(self._flags.word)

    # ---- runs ----
    def _run(self) -> RunSummary:
        """Return the run that was named. Raises `UserError`."""
        wanted, runs = str(self._flags.run), self._store.list()
        if wanted == "last" and runs:
            return runs[0]
        found = [run for run in runs if wanted in (run.id, run.name)]
        found = found or [run for run in runs if run.id.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise UserError(f"There is no run {wanted!r}.", hint="`runs` lists them.")
        ids = ", ".join(run.id for run in found[:5])
        raise UserError(f"{wanted!r} names {len(found)} runs.", hint=f"Give the id: {ids}.")

    def _runs(self) -> int:
        runs = self._store.list()
        if self._flags.active:
            runs = [run for run in runs if run.status.active]
        shown = runs[: max(0, self._flags.limit)]
        if self._flags.json:
            self._print_json({"runs": [run_told(run) for run in shown], "total": len(runs)})
            return EXIT_OK
        if not runs:
            print("There are no runs.")
        for run in shown:
            print(_row(run))
        if len(runs) > len(shown):
            print(f"{len(runs) - len(shown)} older ones are not shown (--limit).")
        return EXIT_OK

    def _show(self, run: RunSummary) -> int:
        if self._flags.json:
            self._print_json(status_told(run))
            return EXIT_OK
        print(f"{_row(run)}\n{run.status.detail}")
        for problem in run.status.problems:
            print(f"  {problem}")
        if run.status.hint:
            print(f"  {run.status.hint}")
        print(f"Folder: {run.folder.path}")
        return EXIT_OK

    def _ask(self, what: str) -> int:
        run = self._run()
        if not run.busy:
            raise UserError(f"The run {run.id} is over.", hint="Only a run at work can be asked.")
        match what:
            case "stop" if self._flags.now:
                stop.kill(run.folder)
            case "stop":
                stop.stop(run.folder)
            case "save":
                stop.save_now(run.folder)
            case "sample":
                stop.sample_now(run.folder)
            case "pause":
                stop.pause(run.folder)
            case "continue":
                stop.go_on(run.folder)
        now = self._store.summary(run.id) or run
        if self._flags.json:
            self._print_json(status_told(now))
        else:
            print(f"{run.id} was asked: {what}.")
        return EXIT_OK

    # ---- jobs ----
    def _submit(self) -> int:
        flags = self._flags
        text, base = _read_job(flags.file)
        jobs = given_jobs(flags.job, text, base, flags.name)
        given = jobs[0]
        if not flags.json:
            for warning in dict.fromkeys(one for job in jobs for one in job.warnings):
                print(f"note: {warning}", file=sys.stderr)
        lane = self._queue.lanes().device(flags.device)
        requests = requests_of(jobs, load_settings(self._workspace)[0], lane)
        if len(jobs) > 1:
            return self._submit_several(jobs, requests)
        if flags.check:
            self._tell({"state": "good"}, "The values of the job are in order.", given)
            return EXIT_OK
        match self._queue.submit(requests[0], "refuse" if flags.start else "queue"):
            case Submitted(run=run, text=words):
                self._tell({"state": "started", "run": run.id}, f"{words} ({run.id})", given)
                summary = self._store.summary(run.id)
                if flags.follow and summary is not None:
                    return follow(self._store, summary, as_json=flags.json)
            case Queued(id=job, position=place, text=words):
                row = {"state": "queued", "id": job, "position": place}
                self._tell(row, f"{words} ({job})\n{_WHO_MOVES}", given)
            case Refused(text=words):
                raise UserError(words, hint="Without --start it waits for its turn.")
        return EXIT_OK

    def _submit_several(self, jobs: Sequence[Given], requests: Sequence[JobRequest]) -> int:
        """Let the runs that lists of values make wait in the queue, all or none."""
        flags = self._flags
        if flags.check:
            names = "\n".join(f"  {job.name}" for job in jobs)
            words = f"The values of all {len(jobs)} runs are in order:\n{names}"
            self._tell_several({"state": "good"}, words, several_told(jobs))
            return EXIT_OK
        if flags.start or flags.follow:
            raise UserError(
                f"Lists of values make {len(jobs)} runs of this job, which start in their turn.",
                hint="Leave out --start and --follow: they then wait in the queue.",
            )
        queued = self._queue.add(requests)
        rows = "\n".join(f"  {one.request.name} ({one.id})" for one in queued)
        words = f"{len(jobs)} runs wait in the queue, with the tag #{jobs[0].tags[0]}:\n{rows}"
        told = several_told(jobs, [one.id for one in queued])
        self._tell_several({"state": "queued"}, f"{words}\n{_WHO_MOVES}", told)
        return EXIT_OK

    def _tell_several(self, row: dict[str, Any], words: str, told: dict[str, Any]) -> None:
        if self._flags.json:
            self._print_json({**row, **told})
        else:
            print(words, flush=True)

    def _tell(self, row: dict[str, Any], words: str, given: Given) -> None:
        if self._flags.json:
            told = {**row, "name": given.name, "problems": problems_told(given.warnings)}
            self._print_json(told)
        else:
            print(words, flush=True)

    # ---- queue ----
    def _change_queue(self) -> int:
        flags, queue, found = self._flags, self._queue, True
        if flags.pause or flags.go_on:
            queue.pause(bool(flags.pause))
        elif flags.remove:
            found = queue.remove(flags.remove)
        elif flags.retry:
            found = queue.retry(flags.retry)
        elif flags.first:
            found = queue.move(flags.first, 1)
        if not found:
            raise UserError("This job does not wait (any more).", hint="`queue` lists them.")
        told = queue_told(queue.content())
        if flags.json:
            self._print_json(told)
            return EXIT_OK
        if told["paused"]:
            print("The queue is paused: `queue --continue` lets it move on.")
        for job in told["jobs"]:
            problem = f"\n   could not be started: {job['problem']}" if job["problem"] else ""
            print(f"{job['position']}. {job['name']} ({job['job']}) {job['id']}{problem}")
        print(_WHO_MOVES if told["jobs"] else "Nothing waits.")
        return EXIT_OK

    def _work(self) -> int:
        """Move the queue on until Ctrl-C, or until nothing is left to do."""
        notifier = Notifier(
            self._store, lambda: webhook_address(load_settings(self._workspace)[0].webhook)
        )
        if not self._flags.json:
            print("Moving the queue on; Ctrl-C ends this, runs go on.", flush=True)
        try:
            while True:
                notifier.look()
                for run in self._queue.advance():
                    started = {"state": "started", "run": run.id}
                    if self._flags.json:
                        print(json.dumps(started, ensure_ascii=False), flush=True)
                    else:
                        print(f"started {run.id}", flush=True)
                if self._flags.until_empty and not self._anything_left():
                    notifier.look()
                    notifier.finish()
                    return EXIT_OK
                time.sleep(QUEUE_SECONDS)
        except KeyboardInterrupt:
            print("\nThe queue is not moved on from here any more.", file=sys.stderr)
            return EXIT_OK

    def _anything_left(self) -> bool:
        content = self._queue.content()
        can_start = not content.paused and any(job.problem is None for job in content.jobs)
        return can_start or any(run.busy for run in self._store.list())

    @staticmethod
    def _print_json(data: object) -> None:
        print(json.dumps(data, ensure_ascii=False, indent=2), flush=True)


def _read_job(name: str) -> tuple[str, Path]:
    """Return a job's text and the folder its relative paths are meant from."""
    try:
        if name == "-":
            return sys.stdin.read(MAX_TOML_BYTES + 1), Path.cwd()
        with open(name, encoding="utf-8-sig") as file:
            return file.read(MAX_TOML_BYTES + 1), Path.cwd()
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text.", hint="Give a TOML file.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{name} cannot be read: {reason}.", hint="Look at its path.") from error


def _row(run: RunSummary) -> str:
    status = run.status
    when = datetime.fromtimestamp(run.created).strftime("%Y-%m-%d %H:%M")
    steps = f"{status.step}/{status.total_steps}" if status.total_steps else str(status.step or "")
    loss = "" if status.loss is None else f"loss {status.loss:.4g}"
    return f"{run.id:40} {status.state:9} {steps:>12} {loss:12} {when}"
