"""What a training costs: seconds, memory and disk; measured where this machine has done it before.

Estimates are told as such. Their figures: a step of SD 1.5 with a LoRA takes 3.3 s at 256 pixels on
two cores and peaks at 5.1 GB in 32 bits (`docs/figures.md`); about 0.35 s at 512 pixels on a usual
graphics card, where it needs 6 GB in 16 bits, and SDXL at 1024 pixels 12 GB with its insides
computed twice. Between these, time and memory follow pixels, batch and the model's size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kohya_gui.jobs.machine import Machine
from kohya_gui.jobs.store import RunStore, RunSummary
from sd_scripts.errors import UserError
from sd_scripts.options.toml_file import read_toml

MOST_RUNS: Final = 40
"""So many of the newest runs are asked how long a step took, and which model they used."""
GIB: Final = 2**30
SIDES: Final = {"sd1": 512, "sd2": 768, "sdxl": 1024}
"""Size in pixels that each family paints at."""
_FULL_SIZE: Final = {"sd1": 1.07e9, "sd2": 1.29e9, "sdxl": 3.47e9}
"""Parameters of a whole model of the family."""
_TEXT_SHARE: Final = {"sd1": 0.12, "sd2": 0.27, "sdxl": 0.24}
_WORK: Final = {"sd1": 1.0, "sd2": 1.0, "sdxl": 2.0}
"""Arithmetic for the same number of pixels, in that of SD 1.5."""
_RANK_BYTES: Final = {"sd1": 1.15e6, "sd2": 1.3e6, "sdxl": 5.3e6}
_CONV_RANK_BYTES: Final = {"sd1": 2.4e6, "sd2": 2.4e6, "sdxl": 5.0e6}
_PROCESSOR_SECONDS: Final = 26.0
_CARD_SECONDS: Final = 0.35
_TWICE: Final = 1.35
"""Insides computed twice (gradient checkpointing) cost about a third more time."""
_START_SECONDS: Final = 20.0
_PAINTING: Final = 0.35
"""One look of a model without learning from it, in steps."""
_UNSURE: Final = (0.5, 2.0)
_MEASURED: Final = (0.9, 1.25)


@dataclass(frozen=True)
class Workload:
    """What decides the cost of a job. `pixels` of one picture; `num_painted` previews in all;
    `result` the bytes of one trained file."""

    family: str
    num_parameters: int
    pixels: int
    batch: int
    steps: int
    result: int
    half: bool
    checkpointing: bool
    cached_text: bool
    num_pictures: int
    num_painted: int
    painted_steps: int
    num_saved: int

    @property
    def share(self) -> float:
        """How large the model is among those of its family; small ones are for trying out."""
        return share_of(self.family, self.num_parameters)

    @property
    def work(self) -> float:
        """The arithmetic of a step, in that of SD 1.5 on one picture of 512 pixels."""
        return self.batch * self.pixels / 512**2 * _WORK[self.family] * self.share


@dataclass(frozen=True)
class Measured:
    """A step of an earlier run on this machine. `model` is its path."""

    name: str
    family: str
    model: str
    pixels: int
    batch: int
    checkpointing: bool
    seconds_per_step: float


@dataclass(frozen=True)
class Cost:
    """Seconds from and to, bytes, and the run that the time was measured on ("" = estimated)."""

    seconds: tuple[float, float]
    memory: int
    disk: int
    measured: str = ""


def share_of(family: str, num_parameters: int) -> float:
    """Return how large a model is among those of its family, at most 1."""
    return min(1.0, num_parameters / _FULL_SIZE[family])


def network_bytes(family: str, num_parameters: int, rank: int, conv_rank: int) -> int:
    """Return the size of a LoRA's file that is saved in 16 bits."""
    whole = rank * _RANK_BYTES[family] + conv_rank * _CONV_RANK_BYTES[family]
    return round(whole * share_of(family, num_parameters))


def cost_of(load: Workload, machine: Machine, model: str, earlier: Iterable[Measured] = ()) -> Cost:
    """Return what a job costs on a machine; `earlier` are its runs, the newest first."""
    known = next((one for one in earlier if _is_like(one, load, model)), None)
    if known is None:
        seconds, range_ = _estimated_step(load, machine), _UNSURE
    else:
        seconds, range_ = _scaled_step(known, load), _MEASURED
    painting = load.num_painted * load.painted_steps * 2 * _PAINTING * seconds / load.batch
    encoding = load.num_pictures * seconds / load.batch * _PAINTING
    whole = load.steps * seconds + painting + encoding
    return Cost(
        (_START_SECONDS + whole * range_[0], _START_SECONDS + whole * range_[1]),
        memory_of(load, machine),
        disk_of(load),
        known.name if known else "",
    )


def _is_like(run: Measured, load: Workload, model: str) -> bool:
    return run.family == load.family and (run.model == model or load.share == 1.0)


def _scaled_step(run: Measured, load: Workload) -> float:
    work = load.batch * load.pixels / (run.batch * run.pixels)
    twice = _TWICE ** (load.checkpointing - run.checkpointing)
    return run.seconds_per_step * work * twice


def _estimated_step(load: Workload, machine: Machine) -> float:
    twice = _TWICE if load.checkpointing else 1.0
    if machine.has_card:
        return 0.05 + _CARD_SECONDS * load.work * twice
    return 0.2 + _PROCESSOR_SECONDS * load.work * twice / machine.cores


def memory_of(load: Workload, machine: Machine) -> int:
    """Return the bytes that a job needs where it computes."""
    parameters = load.num_parameters
    if load.cached_text:
        parameters = round(parameters * (1 - _TEXT_SHARE[load.family]))
    weights = parameters * (2 if load.half else 4)
    insides = (0.6 if load.checkpointing else 3.0) * load.work * GIB
    around = 0.7 * GIB
    return round(weights + insides + around)


def disk_of(load: Workload) -> int:
    """Return the bytes that results, encoded pictures and previews take."""
    encoded = load.num_pictures * load.pixels / 64 * 4 * 4 * 2
    previews = load.num_painted * load.pixels * 1.5
    return round(load.num_saved * load.result + encoded + previews)


def side_of(resolution: object, family: str) -> int:
    """Return the side of a square as large as what is trained at."""
    parts = [part for part in str(resolution or "").strip("()").split(",") if part.strip()]
    if not parts:
        return SIDES[family]
    numbers = [int(part) for part in parts]
    return round(math.sqrt(numbers[0] * numbers[-1]))


def newest_jobs(store: RunStore, job: str) -> Iterator[tuple[RunSummary, dict[str, Any]]]:
    """Yield the newest trainings of one kind with their values."""
    for summary in store.list()[:MOST_RUNS]:
        if summary.job != job:
            continue
        try:
            values = read_toml(summary.folder.config.read_text("utf-8"), summary.id)
        except (OSError, ValueError, UserError):
            continue  # taken away or damaged: it tells nothing
        yield summary, values


def earlier_steps(store: RunStore, job: str, family: str) -> list[Measured]:
    """Return what steps of a family took in earlier trainings of one kind, the newest first."""
    return [
        _measured(summary.name, family, values, seconds)
        for summary, values in newest_jobs(store, job)
        if summary.status.family == family and (seconds := summary.status.seconds_per_step)
    ]


def _measured(name: str, family: str, values: Mapping[str, Any], seconds: float) -> Measured:
    side = side_of(values.get("resolution"), family)
    return Measured(
        name,
        family,
        str(values.get("pretrained_model_name_or_path") or ""),
        side * side,
        int(values.get("train_batch_size") or 1),
        bool(values.get("gradient_checkpointing")),
        seconds,
    )
