"""Why a run failed, and what can be done about it: changes to its options, or a place to go to.

A remedy never starts anything: it becomes a draft that a person looks at.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from kohya_gui.jobs.memory_ladder import next_rung
from kohya_gui.jobs.store import RunSummary
from sd_scripts.dataset.pictures import PICTURE_SUFFIXES
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import JOBS, Job, TrainingJob
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.toml_file import job_from_toml
from sd_scripts.options.values import replace_values, values_of
from sd_scripts.runs.failure import explain
from sd_scripts.runs.status import read_tail

LOG_LINES: Final = 14
_LOG_BYTES: Final = 32 * 1024
_MAX_PICTURES: Final = 40

_RATES: Final = (
    "learning_rate",
    "unet_lr",
    "text_encoder_lr",
    "learning_rate_te",
    "learning_rate_te1",
    "learning_rate_te2",
)

RemedyKind = Literal["draft", "field", "pictures", "sizes", "doctor"]
GoesOn = Literal["", "same", "kept", "anew", "no_state"]
"""What becomes of what was learned: nothing is told; training goes on from a state with the same
result but for rounding; it goes on, learning otherwise from there; it begins anew although there is
a state; it begins anew since there is none."""

_GOES_ON: Final[Mapping[str, GoesOn]] = {
    "workers": "same",
    "no_compile": "same",
    "memory-gradient_checkpointing": "same",
    "memory-cache_latents": "kept",
    "memory-mixed_precision": "kept",
    "memory-batch": "kept",
    "memory-resolution": "kept",
    "memory-optimizer": "anew",
    "memory-text_encoder": "anew",
    "memory-fused": "anew",
    "memory-quantize": "anew",
}
"""By the remedy's name. A state holds what learns and the optimizer's memory of it: these must stay
of the same kind."""


@dataclass(frozen=True)
class Remedy:
    """One thing to do. `name` is what it is told under.

    "draft": the run's settings with `changes`; "field": the settings, at `option`; "pictures":
    leave out `pictures` of `folder`; "sizes": make room on the disk; "doctor": look at the machine.
    `state` is what the training goes on from, None where it begins anew.
    """

    name: str
    kind: RemedyKind
    changes: Mapping[str, object] = field(default_factory=dict)
    option: str | None = None
    folder: Path | None = None
    pictures: tuple[Path, ...] = ()
    goes_on: GoesOn = ""
    state: Path | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What is known about a failure: its kind ("" if none), the log's last lines, the remedies.

    `before` holds the values of the options that a remedy would change; `free_bytes` is what is
    free on the disk of the results, where that was the matter.
    """

    kind: str
    log: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    before: Mapping[str, object] = field(default_factory=dict)
    free_bytes: int | None = None


def diagnose(summary: RunSummary) -> Diagnosis | None:
    """Look at a run that failed or was lost; None for any other one."""
    status = summary.status
    if status.state not in ("failed", "lost"):
        return None
    tail = read_tail(summary.folder.log, _LOG_BYTES).decode("utf-8", "replace")
    told = "\n".join((status.detail, *(problem.message for problem in status.problems)))
    # What the program said itself goes before what stands somewhere in its log.
    why = explain(told) or (None if status.problems else explain(tail))
    kind = why.kind if why else _kind_of(told)
    job = _job_of(summary)
    options = [name for problem in status.problems for name in _names(problem.option)]
    if not options and why is not None and why.option:
        options = [why.option]
    words = f"{told}\n{why.cause}" if why else told
    found = _remedies(kind, job, options, words) if job else []
    if isinstance(job, TrainingJob):
        state = _last_state(summary, job)
        found = [_going_on(remedy, state) for remedy in found]
    before = values_of(job) if job else {}
    return Diagnosis(
        kind=kind,
        log=tuple(line for line in _last_lines(tail) if line.strip()),
        remedies=tuple(found),
        before={name: before.get(name) for one in found for name in one.changes},
        free_bytes=_free_bytes(summary) if kind == "disk_full" else None,
    )


def remedy_of(summary: RunSummary, name: str) -> Remedy:
    """Return a remedy of a run by its name. Raises `UserError` if there is none (any more)."""
    found = diagnose(summary)
    for remedy in found.remedies if found else ():
        if remedy.name == name:
            return remedy
    raise UserError("This remedy does not fit the run.", hint="Open the run again.")


def _last_state(summary: RunSummary, job: TrainingJob) -> Path | None:
    """Return the last state of a run that is still there: its own, else what it resumed from."""
    resumed = job.saving.resume
    for state in (summary.status.resume_from, Path(resumed).expanduser() if resumed else None):
        if state is not None and state.is_dir():
            return state
    return None


def _going_on(remedy: Remedy, state: Path | None) -> Remedy:
    """Return a remedy with what becomes of what was learned so far."""
    way = _GOES_ON.get(remedy.name, "")
    if not way or state is None:
        return replace(remedy, goes_on="no_state" if way else "")
    return replace(remedy, goes_on=way, state=None if way == "anew" else state)


_WORDS: Final = (
    ("The memory is full", "gpu_memory"),
    ("The disk is full", "disk_full"),
    ("The loss is not a number", "nan"),
    ("was killed (by the system for lack of memory", "killed"),
)


def _kind_of(told: str) -> str:
    """Name the kind of what the trainers say in their own words."""
    return next((kind for words, kind in _WORDS if words in told), "")


def _names(option: str | None) -> list[str]:
    return [name.strip() for name in (option or "").split(",") if name.strip()]


def _job_of(summary: RunSummary) -> Job | None:
    """Return the job of the run as far as it can be understood."""
    job_type = JOBS.get(summary.job)
    if job_type is None:
        return None
    try:
        return job_from_toml(job_type, summary.folder.config.read_text("utf-8"))
    except (UserError, OSError, UnicodeDecodeError):
        return None


def _last_lines(tail: str) -> list[str]:
    lines = [line.rpartition("\r")[2].rstrip() for line in tail.split("\n")]
    return [line[:400] for line in lines if line][-LOG_LINES:]


def _free_bytes(summary: RunSummary) -> int | None:
    try:
        return shutil.disk_usage(summary.folder.path).free
    except OSError:
        return None


def _remedies(kind: str, job: Job, options: list[str], text: str) -> list[Remedy]:
    found: list[Remedy] = []
    match kind:
        case "gpu_memory" | "killed":
            found += _memory(job)
        case "memory" | "worker_killed" | "shared_memory" | "too_many_files":
            found += [*_set(job, "workers", max_data_loader_n_workers=0), *_memory(job)]
        case "nan":
            found += _nan(job, options)
        case "dtype":
            found += _set(
                job, "precision", mixed_precision="bf16", full_fp16=False, full_bf16=False
            ) or _set(job, "precision", mixed_precision="no", full_fp16=False, full_bf16=False)
        case "compiling":
            found += _set(job, "no_compile", torch_compile=False)
        case "picture":
            found += _pictures(job, text)
        case "disk_full":
            found.append(Remedy("sizes", "sizes"))
        case "no_kernel" | "driver" | "device_fault" | "import" | "crash":
            found.append(Remedy("doctor", "doctor"))
    if kind == "" and "bad_images" in options:
        found += _pictures(job, text)
    known = specs_by_name(type(job))
    missing = _option_named_in(job, text) if kind in ("missing_file", "permission") else None
    for option in dict.fromkeys([*options, *([missing] if missing else [])]):
        if option in known:
            found.append(Remedy(f"field-{option}", "field", option=option))
    return found


def _memory(job: Job) -> list[Remedy]:
    rung = next_rung(job)
    return [Remedy(f"memory-{rung[0]}", "draft", rung[1])] if rung else []


def _set(job: Job, name: str, **wanted: object) -> list[Remedy]:
    """Return a remedy that sets options, where the job has them, they differ, and they fit."""
    values = values_of(job)
    changes = {
        option: value
        for option, value in wanted.items()
        if option in values and values[option] != value
    }
    if not changes:
        return []
    try:
        replace_values(job, changes)
    except UserError:
        return []
    return [Remedy(name, "draft", changes)]


def _nan(job: Job, options: list[str]) -> list[Remedy]:
    """The remedy that the guard's own words name first, then the usual ones."""
    values = values_of(job)
    half = values.get("mixed_precision") == "fp16"
    found: list[Remedy] = []
    if "no_half_vae" in options:
        found += _set(job, "full_vae", no_half_vae=True)
    if half:
        found += _set(job, "precision", mixed_precision="bf16", full_fp16=False)
    rates = {
        name: _tenth(value) for name in _RATES if (value := values.get(name)) not in (None, 0, ())
    }
    if rates:
        found += _set(job, "rate", **rates)
    return (
        sorted(found, key=lambda one: one.name != "rate") if "learning_rate" in options else found
    )


def _tenth(value: object) -> object:
    """Return a tenth of a rate, or of each of several."""
    if isinstance(value, tuple):
        return tuple(_tenth(one) for one in value)
    return float(f"{value / 10:.6g}") if isinstance(value, int | float) else value


def _pictures(job: Job, text: str) -> list[Remedy]:
    """Leave out the pictures that the words name, and pass over all that cannot be read."""
    values = values_of(job)
    folder = values.get("train_data_dir")
    found: list[Remedy] = []
    if isinstance(folder, str) and folder and "picture_decisions" in values:
        named = _named_pictures(Path(folder).expanduser(), text)
        if named:
            real = Path(os.path.realpath(folder))
            found.append(Remedy("pictures", "pictures", folder=real, pictures=named))
    return [*found, *_set(job, "skip_pictures", bad_images="skip")]


def _named_pictures(folder: Path, text: str) -> tuple[Path, ...]:
    """Return the pictures below a folder that the words name: by their whole path, else by name."""
    whole: list[Path] = []
    by_name: list[Path] = []
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            if not name.lower().endswith(PICTURE_SUFFIXES) or name not in text:
                continue
            path = Path(place) / name
            if str(path) in text:
                whole.append(path)
            elif re.search(rf"(?<![\w.-]){re.escape(name)}(?!\w)", text):
                by_name.append(path)
    return tuple((whole or by_name)[:_MAX_PICTURES])


def _option_named_in(job: Job, text: str) -> str | None:
    """Return the path option whose value stands in the words, if any."""
    values = values_of(job)
    for name, spec in specs_by_name(type(job)).items():
        value = values.get(name)
        if spec.path is not None and isinstance(value, str) and len(value) > 3 and value in text:
            return name
    return None
