"""What is lost when runs are deleted, told before it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kohya_gui.jobs.feed import RunFeed
from kohya_gui.jobs.store import FolderSize, RunStore
from sd_scripts.errors import UserError
from sd_scripts.runs.folder import RunFolder


@dataclass
class Loss:
    """What deleting one or several runs frees, which trained files and states go with them, and
    which stay since they lie elsewhere. `at_work` are runs that cannot be deleted now."""

    num_bytes: int = 0
    num_files: int = 0
    weights: list[Path] = field(default_factory=list)
    states: list[Path] = field(default_factory=list)
    elsewhere: list[Path] = field(default_factory=list)
    at_work: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def loss_of(store: RunStore, run_ids: list[str]) -> Loss:
    """Look at what deleting these runs would mean."""
    loss = Loss()
    for run_id in dict.fromkeys(run_ids):
        summary = store.summary(run_id)
        if summary is None:
            loss.missing.append(run_id)
            continue
        if summary.busy:
            loss.at_work.append(summary.name)
            continue
        size = store.size(run_id)
        loss.num_bytes += size.num_bytes
        loss.num_files += size.num_files
        _add_files(loss, summary.folder)
    return loss


def _add_files(loss: Loss, run: RunFolder) -> None:
    """Sort the saved files that are still there into those that go and those that stay."""
    feed = RunFeed(run.events)
    try:
        feed.poll()
        root = run.path.resolve()
        for save in feed.saves:
            path = run.path / save.path
            if not path.exists():
                continue
            if not path.resolve().is_relative_to(root):
                loss.elsewhere.append(path)
            elif save.kind == "state":
                loss.states.append(path)
            else:
                loss.weights.append(path)
    except OSError:
        return  # its files cannot be read; deleting will tell why


def delete_runs(store: RunStore, run_ids: list[str]) -> tuple[FolderSize, tuple[str, ...]]:
    """Delete runs one by one; return what that freed, and why some could not be deleted."""
    num_bytes = num_files = 0
    problems: list[str] = []
    for run_id in dict.fromkeys(run_ids):
        try:
            size = store.delete(run_id)
        except UserError as error:
            problems.append(str(error))
            continue
        num_bytes += size.num_bytes
        num_files += size.num_files
    return FolderSize(num_bytes, num_files), tuple(problems)
