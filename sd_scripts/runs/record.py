"""run.json: what was started, by whom and as which process; and the run of a script by hand."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sd_scripts.errors import UserError
from sd_scripts.files import nearest_folder, write_atomic
from sd_scripts.runs import control
from sd_scripts.runs.events import EndEvent, parse_event
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.process import ProcessIdentity, is_alive, is_self_or_ancestor, own_identity

FORMAT: Final = 2
_END_BYTES: Final = 64 * 1024
_VERSIONED: Final = ("kohya-gui", "torch", "diffusers", "transformers", "accelerate")


class RunRecord(BaseModel):
    """The content of `run.json`.

    `pid` and `create_time` (Unix seconds) with their exact marks name the process; they are None
    only between making the folder and starting it. `started` is in Unix seconds, `parent` the id
    of the run that this one continues, `launcher` the process that started it. `earlier_end` is the
    time of the end that an earlier process told in the same folder; it belongs to that one alone.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = 1
    """2 for records with `earlier_end`."""
    name: str = ""
    job: str = ""
    argv: tuple[str, ...] = ()
    pid: int | None = None
    create_time: float | None = None
    boot_id: str | None = None
    start_ticks: int | None = None
    launcher: ProcessIdentity | None = None
    started: float = Field(default_factory=time.time)
    started_by: Literal["gui", "hand"] = "hand"
    versions: dict[str, str] = Field(default_factory=dict)
    parent: str | None = None
    device: str = "default"
    queue_id: str | None = None
    earlier_end: float | None = None

    @property
    def process(self) -> ProcessIdentity | None:
        """The process of the run, or None when none was started yet."""
        if self.pid is None or self.create_time is None:
            return None
        return ProcessIdentity(
            pid=self.pid,
            create_time=self.create_time,
            boot_id=self.boot_id,
            start_ticks=self.start_ticks,
        )

    def with_process(self, process: ProcessIdentity) -> RunRecord:
        """Return this record with another process."""
        return self.model_copy(update=process.model_dump())


def installed_versions() -> dict[str, str]:
    """Return the versions that a result depends on, without importing any of the packages."""
    versions = {"python": platform.python_version(), "system": platform.platform()}
    for name in _VERSIONED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def read_record(run: RunFolder) -> RunRecord | None:
    """Return the run's record, or None when there is none or it cannot be understood."""
    try:
        return RunRecord.model_validate_json(run.run_json.read_bytes())
    except (OSError, ValidationError):
        return None


def write_record(run: RunFolder, record: RunRecord) -> None:
    """Write `run.json` in one atomic step. Raises `OSError`."""
    text = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, indent=2)
    write_atomic(run.run_json, text + "\n")


def claim(run: RunFolder, *, job: str, name: str, argv: Sequence[str]) -> RunRecord:
    """Called by a trainer first of all: make sure that `run.json` names a process.

    A launcher writes it too; this covers a launcher that died right after the start, and a start
    by hand with `--run_dir`. A record that already names a process is left as it is, unless that
    run is over and this is a new start in the same folder. Raises `UserError` when it is not over.
    """
    record = read_record(run)
    if record is not None and record.process is not None:
        if is_self_or_ancestor(record.process):
            return record
        if is_alive(record.process):
            raise UserError(
                f"The process {record.pid} is at work in {run.path}.",
                option="run_dir",
                hint="Wait for its end or stop it, or choose another run folder.",
            )
        for name in (*control.REQUESTS, control.KILL_MARK):
            control.withdraw(run, name)  # meant for the run that is over
        anew = {"started_by": "hand", "argv": tuple(argv), "started": time.time()}
        record = record.model_copy(update=anew)
    if record is None:
        record = RunRecord(name=name, job=job, argv=tuple(argv), versions=installed_versions())
    told = {"format": FORMAT, "earlier_end": _last_end(run)}
    record = record.with_process(own_identity()).model_copy(update=told)
    write_record(run, record)
    return record


def _last_end(run: RunFolder) -> float | None:
    """Return the time of the last end that the folder's events tell, or None."""
    try:
        with open(run.events, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_BYTES))
            lines = file.read(_END_BYTES).split(b"\n")
    except OSError:
        return None
    for line in reversed(lines):
        if b'"end"' in line and isinstance(event := parse_event(line), EndEvent):
            return event.time
    return None


def open_run(
    run_dir: Path | None, *, output_dir: str | None, name: str, job: str, config_toml: str
) -> RunFolder:
    """Return the folder this trainer shall work in, with `run.json` naming its process.

    With `run_dir` it is that folder (made when missing; an existing `config.toml` stays). Without,
    a new one is made in `runs/` beside `output_dir`, or inside it where its parent cannot be
    written, or in `./runs` without an `output_dir`. Raises `UserError` when none can be made.
    """
    argv = [sys.executable, *sys.orig_argv[1:]]
    try:
        if run_dir is not None:
            run = RunFolder(Path(run_dir).absolute())
            run.make_folders()
            if not run.config.exists():
                write_atomic(run.config, config_toml)
        else:
            run = RunFolder.create(_runs_dir(output_dir), name, config_toml)
        claim(run, job=job, name=name, argv=argv)
    except OSError as error:
        raise UserError(
            f"The run folder cannot be made: {error}",
            option="output_dir" if run_dir is None and output_dir else "run_dir",
            hint="Choose a folder you may write to, on a disk with free space.",
        ) from error
    return run


def _runs_dir(output_dir: str | None) -> Path:
    if not output_dir:
        return Path("runs").absolute()
    output = Path(output_dir).absolute()
    beside = output.parent / "runs"
    return beside if os.access(nearest_folder(beside), os.W_OK) else output / "runs"
