"""The numbers of a run for TensorBoard and Weights & Biases, when these are asked for."""

from __future__ import annotations

import importlib
import importlib.util
import json
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple, Protocol

from sd_scripts.errors import Problem, UserError
from sd_scripts.files import parse_toml
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.values import values_of

Warn = Callable[[Problem], None]
Numbers = Mapping[str, float]


class Preview(NamedTuple):
    """A picture painted while training: the number of its prompt (from 0), its file, its words."""

    number: int
    path: Path
    prompt: str


class Tracker(Protocol):
    """Takes the numbers of each step; `more` is what the method tells of it."""

    def step(
        self, step: int, loss: float, rates: Numbers, more: Numbers, *, ends_epoch: bool
    ) -> None: ...

    def validation(self, step: int, loss: float, losses: Numbers) -> None: ...

    def previews(self, step: int, pictures: Sequence[Preview]) -> None: ...

    def close(self) -> None: ...


class NoTracker:
    """What is used when nothing was asked for."""

    def step(
        self, step: int, loss: float, rates: Numbers, more: Numbers, *, ends_epoch: bool
    ) -> None:
        """Do nothing."""

    def validation(self, step: int, loss: float, losses: Numbers) -> None:
        """Do nothing."""

    def previews(self, step: int, pictures: Sequence[Preview]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Sink(Protocol):
    """Takes numbers by name and pictures, as one program keeps them."""

    def write(self, step: int, numbers: Numbers) -> None: ...

    def show(self, step: int, pictures: Sequence[Preview]) -> None: ...

    def close(self) -> None: ...


class NamingTracker:
    """Names numbers as users of sd-scripts know them, and hands them to one or more programs.

    `loss/current`, `loss/average` (over the last steps, as many as an epoch has, that this process
    did), at the end of an epoch and of the run `loss/epoch_average`, `lr/<group>`,
    `max_norm/keys_scaled` and others, `loss/validation/…`.
    """

    def __init__(self, sinks: Sequence[Sink], steps_per_epoch: int) -> None:
        self._sinks = sinks
        self._recent: deque[float] = deque(maxlen=steps_per_epoch)
        self._of_epoch: list[float] = []

    def step(
        self, step: int, loss: float, rates: Numbers, more: Numbers, *, ends_epoch: bool
    ) -> None:
        """Write one step."""
        self._recent.append(loss)
        self._of_epoch.append(loss)
        numbers = {"loss/current": loss, "loss/average": self._average}
        if ends_epoch:
            numbers["loss/epoch_average"] = fmean(self._of_epoch)
            self._of_epoch.clear()
        self._write(step, {**numbers, **{f"lr/{k}": rate for k, rate in rates.items()}, **more})

    @property
    def _average(self) -> float:
        return fmean(self._recent)

    def validation(self, step: int, loss: float, losses: Numbers) -> None:
        """Write the loss on held-out pictures, and how far the training loss is below it."""
        numbers = {"loss/validation/step_average": loss}
        if self._recent:
            numbers["loss/validation/step_divergence"] = loss - self._average
        for name, value in losses.items():
            numbers[f"loss/validation/{name.replace(' ', '_')}"] = value
        self._write(step, numbers)

    def previews(self, step: int, pictures: Sequence[Preview]) -> None:
        """Show the pictures that were painted after a step."""
        for sink in self._sinks:
            sink.show(step, pictures)

    def _write(self, step: int, numbers: Numbers) -> None:
        for sink in self._sinks:
            sink.write(step, numbers)

    def close(self) -> None:
        """Close the logs."""
        for sink in self._sinks:
            sink.close()


class TensorBoardSink:
    """Writes a TensorBoard log in the folder `logging_dir/<prefix><date>/<name>`."""

    def __init__(self, job: TrainingJob, settings: Mapping[str, object], _warn: Warn) -> None:
        from torch.utils.tensorboard import SummaryWriter

        logging = job.logging
        assert logging.logging_dir is not None, "a rule asks for it"
        dated = f"{logging.log_prefix or ''}{datetime.now():%Y%m%d%H%M%S}"
        name = logging.log_tracker_name or job.tracker_name
        self._writer = SummaryWriter(str(Path(logging.logging_dir) / dated / name))
        if settings:
            text = json.dumps(settings, indent=2, ensure_ascii=False)
            self._writer.add_text("settings", f"```\n{text}\n```")

    def write(self, step: int, numbers: Numbers) -> None:
        """Write numbers of one step."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def show(self, step: int, pictures: Sequence[Preview]) -> None:
        """Do nothing: previews lie in the run folder, and would be kept here a second time."""

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


class WandbSink:
    """Sends numbers to Weights & Biases, as the project `log_tracker_name`.

    Who one is, wandb knows from `wandb login` or its environment variables. Its own files go to
    `logging_dir`, or without that to the system's folder for temporary files. The table `[wandb]`
    of `log_tracker_config` holds further arguments of `wandb.init`. Raises `UserError` if it
    cannot begin.
    """

    def __init__(self, job: TrainingJob, settings: Mapping[str, object], warn: Warn) -> None:
        wandb: Any = importlib.import_module("wandb")
        self._wandb = wandb
        self._warn = warn
        self._failed = False
        logging = job.logging
        folder = Path(logging.logging_dir or tempfile.gettempdir())
        more: dict[str, Any] = dict(tracker_settings(logging.log_tracker_config).get("wandb", {}))
        arguments: dict[str, Any] = {
            "project": logging.log_tracker_name or job.tracker_name,
            "name": logging.wandb_run_name,
            "dir": str(folder),
            "config": dict(settings),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._run = wandb.init(**(arguments | more))
        except (wandb.errors.Error, OSError, TypeError) as error:
            raise UserError(
                f"Weights & Biases cannot begin: {error}",
                option="log_with, log_tracker_config",
                hint="Log in with “wandb login”, mend log_tracker_config, or empty log_with.",
            ) from error

    def write(self, step: int, numbers: Numbers) -> None:
        """Send numbers of one step. A training does not end because a log cannot be sent."""
        self._try(lambda: self._run.log(dict(numbers), step=step))

    def show(self, step: int, pictures: Sequence[Preview]) -> None:
        """Send pictures, each under the number of its prompt, as `sample_0`."""

        def send() -> None:
            images = {
                f"sample_{one.number}": self._wandb.Image(str(one.path), caption=one.prompt)
                for one in pictures
            }
            self._run.log(images, step=step)

        if pictures:
            self._try(send)

    def close(self) -> None:
        """Send what is left."""
        self._try(lambda: self._run.finish())

    def _try(self, act: Callable[[], object]) -> None:
        """Do what may fail with any error of the package; tells the first failure only."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - told, and the training goes on
            if not self._failed:
                hint = "The training goes on, and the page shows the same numbers."
                message = f"Weights & Biases does not take the numbers: {error}"
                self._warn(Problem(message, "log_with", hint, "warning"))
            self._failed = True


SINKS: Final[dict[str, Callable[[TrainingJob, Mapping[str, object], Warn], Sink]]] = {
    "tensorboard": TensorBoardSink,
    "wandb": WandbSink,
}
_PACKAGES: Final = {"tensorboard": "TensorBoard", "wandb": "Weights & Biases"}
_HINTS: Final = {
    "tensorboard": "Install the extra “trackers”, or leave logging_dir empty: the page shows the "
    "same charts.",
    "wandb": "Install the package wandb into this program's environment, or empty log_with.",
}


def sinks_of(job: TrainingJob) -> tuple[str, ...]:
    """Return the names of what a job logs with."""
    chosen = job.logging.log_with or ("tensorboard" if job.logging.logging_dir else None)
    return tuple(SINKS) if chosen == "all" else (chosen,) if chosen else ()


def tracker_problems(job: TrainingJob) -> list[Problem]:
    """Tell what is missing for the trackers that were asked for."""
    problems = [
        Problem(f"{_PACKAGES[name]} is not installed", "log_with, logging_dir", _HINTS[name])
        for name in sinks_of(job)
        if importlib.util.find_spec(name) is None
    ]
    try:
        tracker_settings(job.logging.log_tracker_config)
    except UserError as error:
        problems += error.problems
    return problems


def tracker_settings(path: str | None) -> dict[str, dict[str, Any]]:
    """Read `log_tracker_config`: a table for each tracker. Raises `UserError`."""
    if path is None:
        return {}
    hint = "Give a TOML file with a table [wandb] that holds arguments of wandb.init."
    try:
        found = parse_toml(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error}"
        raise UserError(message, option="log_tracker_config", hint=hint) from error
    strange = [name for name, table in found.items() if name != "wandb" or type(table) is not dict]
    if strange:
        message = f"{path} has {', '.join(strange)}, which no tracker reads"
        raise UserError(message, option="log_tracker_config", hint=hint)
    return found


def shown_settings(job: TrainingJob) -> dict[str, object]:
    """Return a job's options for `log_config`: without paths, which tell of the machine."""
    specs = specs_by_name(type(job))
    return {name: value for name, value in values_of(job).items() if specs[name].path is None}


def build_tracker(job: TrainingJob, warn: Warn, steps_per_epoch: int) -> Tracker:
    """Make the tracker of a job; `warn` tells what goes wrong on the way."""
    settings = shown_settings(job) if job.logging.log_config else {}
    sinks = [SINKS[name](job, settings, warn) for name in sinks_of(job)]
    return NamingTracker(sinks, steps_per_epoch) if sinks else NoTracker()
