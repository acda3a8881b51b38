"""Checks: a job's own `--check_only`, run as a process beside the page, with its report to read."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kohya_gui.jobs.launch import JOB_MODULES, JobRequest, environment_for
from kohya_gui.jobs.log_tail import LogTail
from kohya_gui.workspace import Workspace
from sd_scripts.errors import EXIT_OK, EXIT_USER, UserError
from sd_scripts.files import write_atomic
from sd_scripts.runs.folder import RunFolder

RESULT: Final = "result.json"
MAX_SECONDS: Final = 900.0
MAX_AT_ONCE: Final = 3
KEPT_SECONDS: Final = 3600.0
END_SECONDS: Final = 5.0
_ID: Final = re.compile(r"[0-9a-f]{16}")


@dataclass
class _Check:
    """One check at work or just done."""

    folder: Path
    process: subprocess.Popen[bytes]
    started: float
    log: LogTail


class Checks:
    """The checks of one GUI. They end with it: nothing that counts is lost with a check."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._folder = workspace.path / "checks"
        self._lock = threading.Lock()
        self._checks: dict[str, _Check] = {}
        self._forget_old()

    def start(self, job_name: str, config_toml: str) -> str:
        """Start a check of a complete job; return its id. Raises `UserError`."""
        module = JOB_MODULES[job_name]
        return self._start(job_name, config_toml, lambda run: [module, "--check_only"])

    def start_trial(self, job_name: str, config_toml: str, picture: Path) -> str:
        """Start a captioning job on one picture; return its id. Raises `UserError`."""

        def command(run: RunFolder) -> list[str]:
            result = str(run.path / RESULT)
            given = ["--job", job_name, "--picture", str(picture), "--result", result]
            return ["sd_scripts.captioning.trial", *given]

        return self._start(job_name, config_toml, command)

    def start_samples(
        self, job_name: str, config_toml: str, pictures: Path, given: list[str]
    ) -> str:
        """Start drawing what a job's model will see; return its id. Raises `UserError`."""

        def command(run: RunFolder) -> list[str]:
            places = ["--pictures", str(pictures), "--result", str(run.path / RESULT)]
            return ["sd_scripts.data.seen", "--job", job_name, *places, *given]

        return self._start(job_name, config_toml, command)

    def _start(
        self, job_name: str, config_toml: str, command: Callable[[RunFolder], list[str]]
    ) -> str:
        with self._lock:
            self._forget_ended()
            at_work = [check for check in self._checks.values() if check.process.poll() is None]
            if len(at_work) >= MAX_AT_ONCE:
                raise UserError(
                    f"{MAX_AT_ONCE} checks are at work already.", hint="Wait for one of them."
                )
            name = secrets.token_hex(8)
            run = RunFolder(self._folder / name)
            request = JobRequest(job_name=job_name, config_toml=config_toml, name="check")
            try:
                run.path.mkdir(parents=True)
                write_atomic(run.config, config_toml, durable=False)
                process = self._spawn(run, request, command(run))
            except OSError as error:
                raise UserError(
                    f"The check could not be started: {error}",
                    option="workspace",
                    hint="Look at the free space and the rights of the workspace folder.",
                ) from error
            self._checks[name] = _Check(run.path, process, time.monotonic(), LogTail(run.log))
        return name

    def _spawn(
        self, run: RunFolder, request: JobRequest, command: list[str]
    ) -> subprocess.Popen[bytes]:
        module, *given = command
        argv = [sys.executable, "-m", module, "--config_file", str(run.config), *given]
        with open(run.log, "ab") as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._workspace.path,
                env=environment_for(run, request),
            )

    def look(self, check_id: str) -> dict[str, Any]:
        """Return how a check stands: its text, and whether it found everything in order."""
        with self._lock:
            check = self._checks.get(check_id) if _ID.fullmatch(check_id) else None
        if check is None:
            return {"state": "gone", "text": ""}
        code = check.process.poll()
        seconds = time.monotonic() - check.started
        if code is None and seconds > MAX_SECONDS:
            check.process.kill()
        check.log.poll()
        return {
            "state": _state(code),
            "text": check.log.view().text,
            "seconds": seconds,
            "result": _result(check.folder) if code == EXIT_OK else None,
        }

    def cancel(self, check_id: str) -> None:
        """End a check that nobody waits for any more."""
        with self._lock:
            check = self._checks.get(check_id)
        if check is not None and check.process.poll() is None:
            check.process.terminate()

    def close(self) -> None:
        """End all checks."""
        with self._lock:
            checks = list(self._checks.values())
        for check in checks:
            if check.process.poll() is None:
                check.process.terminate()
        for check in checks:
            try:
                check.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                check.process.kill()
                check.process.wait()

    def _forget_ended(self) -> None:
        """Let go of checks that ended so long ago that nobody waits for their text."""
        limit = time.monotonic() - KEPT_SECONDS
        for name, check in list(self._checks.items()):
            if check.started < limit and check.process.poll() is not None:
                del self._checks[name]
                shutil.rmtree(check.folder, ignore_errors=True)

    def _forget_old(self) -> None:
        """Remove what earlier checks left behind; only folders named as ours."""
        if not self._folder.is_dir():
            return
        for folder in self._folder.iterdir():
            if _ID.fullmatch(folder.name) and _age_seconds(folder) > KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _result(folder: Path) -> Any:
    """Return what a trial wrote; None for a check."""
    try:
        return json.loads((folder / RESULT).read_text("utf-8"))
    except FileNotFoundError:
        return None


def _age_seconds(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0  # somebody else removed it meanwhile


def _state(code: int | None) -> str:
    """Return a word for an exit code: the ones a job may end with, or a crash."""
    if code is None:
        return "working"
    return {EXIT_OK: "good", EXIT_USER: "bad"}.get(code, "crashed")
