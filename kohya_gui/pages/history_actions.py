"""What the page of runs asks the server about many runs: looking through them, notes, tags."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.datasets.leaving_out import decisions_for, leave_out
from kohya_gui.jobs.continuing import request_again
from kohya_gui.jobs.deleting import delete_runs, loss_of
from kohya_gui.jobs.history import HistoryPage, HistoryWish
from kohya_gui.jobs.notes import Changed, RunNote, change_tags, read_note, write_note
from kohya_gui.jobs.remedies import remedy_of
from kohya_gui.jobs.store import RunSummary
from kohya_gui.pages.run_actions import RunActions, given
from kohya_gui.reasons import failure, reason
from kohya_gui.run_view import run_row
from sd_scripts.errors import UserError
from sd_scripts.options.toml_file import read_toml

Function = Callable[[object], Any]
MAX_SIZES: Final = 40
"""So many of the largest runs are listed."""


class HistoryActions:
    """The functions, bound to what pages share. Mistakes come back as words under `problem`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._runs = RunActions(context)

    def functions(self) -> list[Function]:
        """Return what a script can call; each takes one mapping and returns plain data."""
        return [
            self.list_runs,
            self.read_note,
            self.write_note,
            self.tag_runs,
            self.runs_loss,
            self.delete_runs,
            self.run_sizes,
            self.run_again,
            self.leave_out,
        ]

    def list_runs(self, request: object = None) -> dict[str, Any]:
        """Return one page of the runs that fit, those at work, and the queue; only
        `{"same": True}` when that is what the page with this `mark` shows already."""
        data = request if isinstance(request, Mapping) else {}
        page = self._context.history.look(HistoryWish.of(data))
        queue, problem = self._runs.queue_rows()
        found = {**self._page(page), "queue": queue, "problem": problem}
        digest = hashlib.blake2b(json.dumps(found).encode("utf-8", "replace"), digest_size=8)
        mark = digest.hexdigest()
        return {"same": True} if mark == given(request, "mark") else {**found, "mark": mark}

    def _page(self, page: HistoryPage) -> dict[str, Any]:
        text = self._context.text
        unknown = [
            text("runs.unknown_option", name=one.name)
            + (" " + text("runs.did_you_mean", name=one.known) if one.known else "")
            for one in page.unknown
        ]
        return {
            "runs": [run_row(run, text) for run in page.runs],
            "running": [run_row(run, text) for run in page.running],
            "num_found": page.num_found,
            "num_all": page.num_all,
            "page": page.page,
            "num_pages": page.num_pages,
            "states": [
                {"id": name, "text": text(f"state.{name}"), "count": count}
                for name, count in sorted(page.states.items())
            ],
            "jobs": [
                {"id": name, "text": text.optional(f"job_name.{name}", name), "count": count}
                for name, count in sorted(page.jobs.items())
            ],
            "tags": [name for name, _ in sorted(page.tags.items())],
            "unknown": unknown,
        }

    def read_note(self, request: object = None) -> dict[str, Any]:
        """Return the note and the tags of a run."""
        run = self._context.store.get(given(request, "run"))
        return _row(read_note(run)) if run else {"problem": self._context.text("run.unknown")}

    def write_note(self, request: object = None) -> dict[str, Any]:
        """Write the note and tags of a run; `changed` holds what somebody else wrote meanwhile."""
        data = request if isinstance(request, Mapping) else {}
        run = self._context.store.get(given(request, "run"))
        if run is None:
            return {"problem": self._context.text("run.unknown")}
        version = data.get("version")
        tags = given(request, "tags").split(",")
        try:
            answer = write_note(
                self._context.workspace,
                run,
                given(request, "note"),
                tags,
                version if isinstance(version, int) else 0,
            )
        except (UserError, OSError) as error:
            return {"problem": self._why(error)}
        return {"changed": _row(answer.now)} if isinstance(answer, Changed) else _row(answer)

    def tag_runs(self, request: object = None) -> dict[str, Any]:
        """Add a tag to several runs, or take it off."""
        tag, problems = given(request, "tag").split(","), []
        for run_id in given_list(request, "runs"):
            run = self._context.store.get(run_id)
            if run is None:
                problems.append(self._context.text("run.unknown"))
                continue
            try:
                if given(request, "what") == "remove":
                    change_tags(self._context.workspace, run, remove=tag)
                else:
                    change_tags(self._context.workspace, run, add=tag)
            except (UserError, OSError) as error:
                problems.append(f"{run_id}: {self._why(error)}")
        return {"problem": "\n".join(problems)} if problems else {}

    def runs_loss(self, request: object = None) -> dict[str, Any]:
        """Return what deleting these runs would free, and what goes and stays."""
        loss = loss_of(self._context.store, given_list(request, "runs"))
        return {
            "bytes": loss.num_bytes,
            "files": loss.num_files,
            "weights": [path.name for path in loss.weights],
            "states": [path.name for path in loss.states],
            "elsewhere": [str(path) for path in loss.elsewhere],
            "at_work": loss.at_work,
        }

    def delete_runs(self, request: object = None) -> dict[str, Any]:
        """Delete the folders of runs."""
        _, problems = delete_runs(self._context.store, given_list(request, "runs"))
        return {"problem": "\n".join(problems)} if problems else {}

    def run_sizes(self, request: object = None) -> dict[str, Any]:
        """Return what the runs take on the disk, the largest first."""
        store = self._context.store
        sizes: list[tuple[int, RunSummary]] = []
        for run in store.list():
            try:
                sizes.append((store.size(run.id).num_bytes, run))
            except UserError:
                continue  # deleted meanwhile
        sizes.sort(key=lambda pair: -pair[0])
        rows = [
            {"id": run.id, "name": run.name, "bytes": size, "busy": run.busy}
            for size, run in sizes[:MAX_SIZES]
        ]
        free = shutil.disk_usage(self._context.workspace.runs).free
        return {"runs": rows, "all_bytes": sum(size for size, _ in sizes), "free_bytes": free}

    def run_again(self, request: object = None) -> dict[str, Any]:
        """Put the jobs of runs into the queue once more, as they were: all or none."""
        settings = self._context.settings()
        try:
            requests = [
                request_again(run, allow_hub=settings.allow_hub, processes=settings.processes)
                for run_id in given_list(request, "runs")
                if (run := self._context.store.summary(run_id)) is not None
            ]
            self._context.queue.add(requests)
        except (UserError, OSError) as error:
            return {"problem": failure(error)}
        return {}

    def leave_out(self, request: object = None) -> dict[str, Any]:
        """Decide that the pictures a run failed at are left out from now on."""
        text, run = self._context.text, self._context.store.summary(given(request, "run"))
        if run is None:
            return {"problem": text("run.unknown")}
        try:
            remedy = remedy_of(run, given(request, "remedy"))
            if remedy.folder is None:
                return {"problem": text("run.unknown")}
            values = read_toml(run.folder.config.read_text("utf-8"))
            named = str(values.get("picture_decisions") or "")
            file = decisions_for(self._context.workspace, remedy.folder, named)
            leave_out(file, remedy.folder, remedy.pictures, text("failure.left_out", run=run.name))
        except (UserError, OSError) as error:
            return {"problem": failure(error)}
        return {}

    def _why(self, error: UserError | OSError) -> str:
        return self._context.text("runs.note_not_kept", reason=reason(error))


def _row(note: RunNote) -> dict[str, Any]:
    return {"note": note.note, "tags": list(note.tags), "version": note.version}


def given_list(request: object, name: str) -> list[str]:
    """Return the texts of a list that a script sent."""
    found = request.get(name) if isinstance(request, Mapping) else None
    return [str(one) for one in found] if isinstance(found, list) else []
