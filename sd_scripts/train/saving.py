"""When and under which names trained files and states are written, and which old ones go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from sd_scripts.dataset.steps import StepArithmetic
from sd_scripts.errors import Problem, UserError
from sd_scripts.files import companion, put_back
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.runs.reporter import Reporter
from sd_scripts.train.state_facts import Position, Stamp, stamp_of


class SaveWeights(Protocol):
    """Writes the trained file; `final` says that it is the last one and may take its time."""

    def __call__(self, path: Path, step: int, epoch: int, *, final: bool) -> None: ...


SaveState = Callable[[Path], None]
IsOurs = Callable[[Path], bool]


@dataclass(frozen=True)
class SavePlan:
    """The saving options of a job with everything derived, in steps and epochs."""

    every_epochs: int
    every_steps: int
    keep_epochs: int
    keep_steps: int
    keep_state_epochs: int
    keep_state_steps: int
    states: bool
    state_at_end: bool

    @classmethod
    def of(cls, job: TrainingJob, num_epochs: int) -> SavePlan:
        """Derive the plan; a count of 0 means never, or keep all."""
        saving = job.saving
        every_epochs = saving.save_every_n_epochs or 0
        if saving.save_n_epoch_ratio:
            every_epochs = max(1, num_epochs // saving.save_n_epoch_ratio)
        keep_epochs = saving.save_last_n_epochs or 0
        keep_steps = saving.save_last_n_steps or 0
        return cls(
            every_epochs=every_epochs,
            every_steps=saving.save_every_n_steps or 0,
            keep_epochs=keep_epochs,
            keep_steps=keep_steps,
            keep_state_epochs=saving.save_last_n_epochs_state or keep_epochs,
            keep_state_steps=saving.save_last_n_steps_state or keep_steps,
            states=saving.save_state,
            state_at_end=saving.save_state or saving.save_state_on_train_end,
        )


def outdated_epoch(epoch: int, every: int, keep: int) -> int | None:
    """Return the epoch whose file goes when `epoch` was saved, None if none."""
    old = epoch - every * keep
    return old if keep and old > 0 else None


def outdated_step(step: int, every: int, keep: int) -> int | None:
    """Return the step whose file goes when `step` was saved, None if none; `keep` is in steps."""
    old = step - keep - 1
    old -= old % every
    return old if keep and old > 0 else None


class _Saved(NamedTuple):
    """Whether a file and a state were written."""

    weights: bool
    state: bool


class Saver:
    """Writes files and states of one run. It replaces and removes only what the run itself made."""

    def __init__(
        self,
        job: TrainingJob,
        *,
        num_epochs: int,
        folders: tuple[Path, Path, Path],
        write: tuple[SaveWeights, SaveState],
        is_ours: IsOurs,
        reporter: Reporter,
    ) -> None:
        """`folders`: for files, for states, and where files go if the first cannot be written."""
        self._plan = SavePlan.of(job, num_epochs)
        self._num_epochs = num_epochs
        self._output, self._states, self._spare = folders
        self._write_weights, self._write_state = write
        self._is_ours = is_ours
        self._reporter = reporter
        self._ending = job.file_ending
        self._given_name = job.result_name
        self._companions = job.companions
        self._written: dict[Path, Stamp] = {}

    def _name(self, default: str) -> str:
        return self._given_name or default

    def _epoch_name(self, epoch: int) -> str:
        return f"{self._name('epoch')}-{epoch:06d}"

    def _step_name(self, step: int) -> str:
        return f"{self._name('at')}-step{step:08d}"

    def after_step(self, position: Position) -> bool:
        """Save what is due after a step; tells whether anything was.

        What cannot be written is told as a warning, and training goes on.
        """
        plan = self._plan
        if not plan.every_steps or position.step % plan.every_steps:
            return False
        old = outdated_step(position.step, plan.every_steps, plan.keep_steps)
        old_state = outdated_step(position.step, plan.every_steps, plan.keep_state_steps)
        saved = self._on_schedule(self._step_name(position.step), position, state=plan.states)
        if old and saved.weights:
            self._remove(self._step_name(old), weights=True)
        if old_state and saved.state:
            self._remove(self._step_name(old_state), weights=False)
        return True

    def after_epoch(self, position: Position) -> bool:
        """Save what is due after an epoch (`finish` saves the last one), as `after_step` does."""
        plan, epoch = self._plan, position.epoch
        if not plan.every_epochs or epoch % plan.every_epochs or epoch >= self._num_epochs:
            return False
        old = outdated_epoch(epoch, plan.every_epochs, plan.keep_epochs)
        old_state = outdated_epoch(epoch, plan.every_epochs, plan.keep_state_epochs)
        saved = self._on_schedule(self._epoch_name(epoch), position, state=plan.states)
        if old and saved.weights:
            self._remove(self._epoch_name(old), weights=True)
        if old_state and saved.state:
            self._remove(self._epoch_name(old_state), weights=False)
        return True

    def on_request(self, position: Position) -> None:
        """Save a file and a state at once; training goes on even if that cannot be done."""
        self._on_schedule(self._step_name(position.step), position, state=True)

    def _on_schedule(self, name: str, position: Position, *, state: bool) -> _Saved:
        """Save what can be saved; what cannot is told, and nothing older is removed for it."""
        weights = self._tried(
            name, lambda: self._weights(self._output, name, position, final=False)
        )
        kept = state and self._tried(
            f"{name}-state", lambda: self._state(self._states, name, position)
        )
        return _Saved(weights, kept)

    def _tried(self, name: str, save: Callable[[], None]) -> bool:
        try:
            save()
        except OSError as error:
            self._reporter.warn(
                Problem(
                    f"{name} could not be saved: {_reason(error)}",
                    "output_dir",
                    "Free some space or mend the folder; training goes on and saves again later.",
                    "warning",
                )
            )
            return False
        return True

    def stopped(self, position: Position) -> None:
        """Save a file and a state of a run that ends before its last step.

        Raises `UserError` if no folder takes one of them.
        """
        name = self._step_name(position.step)
        self._certain_weights(name, position, final=False)
        try:
            self._state(self._states, name, position)
        except OSError as error:
            try:
                self._state(self._output, name, position)
            except OSError:
                raise _cannot_save(f"{name}-state", self._states, error) from error

    def finish(self, position: Position) -> None:
        """Save the finished result under the plain name. Raises `UserError` if that fails."""
        name = self._name("last")
        self._certain_weights(name, position, final=True)
        if self._plan.state_at_end:
            self._tried(f"{name}-state", lambda: self._state(self._states, name, position))

    def _certain_weights(self, name: str, position: Position, *, final: bool) -> None:
        try:
            self._weights(self._output, name, position, final=final)
            return
        except OSError as error:
            if self._spare == self._output:
                raise _cannot_save(name, self._output, error) from error
            self._reporter.warn(
                Problem(
                    f"{name} cannot be written to {self._output}: {_reason(error)}",
                    "output_dir",
                    f"It is saved in {self._spare} instead.",
                    "warning",
                )
            )
        try:
            self._weights(self._spare, name, position, final=final)
        except OSError as error:
            raise _cannot_save(name, self._spare, error) from error

    def _weights(self, folder: Path, name: str, position: Position, *, final: bool) -> None:
        files = self._files(folder, name)
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            self._keep_foreign(path)
        # The last epoch counts as done where the steps end within it, as in sd-scripts' files.
        epoch = self._num_epochs if final else position.epoch
        self._write_weights(files[0], position.step, epoch, final=final)
        for path in files:
            self._written[path] = stamp_of(path)
            self._reporter.saved(path, position.step, state=False)

    def _files(self, folder: Path, name: str) -> list[Path]:
        """Return what one save writes: the trained file, and those that belong to it."""
        path = folder / f"{name}{self._ending}"
        return [path, *(companion(path, suffix) for suffix in self._companions)]

    def _state(self, folder: Path, name: str, position: Position) -> None:
        path = folder / f"{name}-state"
        self._keep_foreign(path)
        self._write_state(path)
        self._written[path] = stamp_of(path)
        self._reporter.saved(path, position.step, state=True)

    def _is_own(self, path: Path) -> bool:
        """Tell whether this run, or what it resumes, wrote what lies at `path` now."""
        written = self._written.get(path)
        return (written is not None and written == stamp_of(path)) or self._is_ours(path)

    def _keep_foreign(self, path: Path) -> None:
        """Move aside what another run left under our name: old results are never lost."""
        put_back(path)
        if not path.exists() or self._is_own(path):
            return
        when = datetime.fromtimestamp(path.stat().st_mtime)
        aside = path.with_name(f"{path.stem}.before-{when:%Y%m%d-%H%M%S}{path.suffix}")
        number = 1
        while aside.exists():
            number += 1
            aside = aside.with_name(
                f"{path.stem}.before-{when:%Y%m%d-%H%M%S}-{number}{path.suffix}"
            )
        os.replace(path, aside)
        self._reporter.warn(
            Problem(
                f"{path.name} of an earlier run was kept as {aside.name}",
                "output_name",
                None,
                "warning",
            )
        )

    def _remove(self, name: str, *, weights: bool) -> None:
        if not weights:
            self._remove_one(self._states / f"{name}-state", weights=False)
            return
        for path in self._files(self._output, name):
            self._remove_one(path, weights=True)

    def _remove_one(self, path: Path, *, weights: bool) -> None:
        if not path.exists() or not self._is_own(path):
            return
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            self._reporter.say(f"removed {path}")
        except OSError as error:
            text = f"The old {path.name} could not be removed: {_reason(error)}"
            self._reporter.warn(Problem(text, "save_last_n_epochs", None, "warning"))


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _cannot_save(name: str, folder: Path, error: OSError) -> UserError:
    return UserError(
        f"{name} cannot be written to {folder}: {_reason(error)}",
        option="output_dir",
        hint="Free some space or choose another folder, then resume from the last saved state.",
    )


def planned_names(job: TrainingJob, plan: SavePlan, arithmetic: StepArithmetic) -> list[str]:
    """Return the names of the files that a whole run writes, long lists shortened to their ends."""
    ending = job.file_ending
    name = job.result_name
    epochs = range(plan.every_epochs, arithmetic.num_epochs, plan.every_epochs or 1)
    steps = range(plan.every_steps, arithmetic.total_steps + 1, plan.every_steps or 1)
    by_epoch = [f"{name or 'epoch'}-{n:06d}{ending}" for n in epochs if plan.every_epochs]
    by_step = [f"{name or 'at'}-step{n:08d}{ending}" for n in steps if plan.every_steps]
    names = [*_shortened(by_step), *_shortened(by_epoch), f"{name or 'last'}{ending}"]
    return [*names, *(f"{name or 'last'}{added}{ending}" for added in job.companions)]


def _shortened(names: list[str]) -> list[str]:
    if len(names) <= 4:
        return names
    return [*names[:2], f"… ({len(names) - 3} more)", names[-1]]


def num_kept(plan: SavePlan, arithmetic: StepArithmetic) -> tuple[int, int]:
    """Return how many trained files and how many states are there at once, at the most."""

    def kept(keep_epochs: int, keep_steps: int) -> int:
        by_epoch = by_step = 0
        if plan.every_epochs:
            by_epoch = max(0, arithmetic.num_epochs - 1) // plan.every_epochs
            by_epoch = min(by_epoch, keep_epochs + 1) if keep_epochs else by_epoch
        if plan.every_steps:
            by_step = arithmetic.total_steps // plan.every_steps
            limit = keep_steps // plan.every_steps + 2
            by_step = min(by_step, limit) if keep_steps else by_step
        return by_epoch + by_step

    files = kept(plan.keep_epochs, plan.keep_steps) + 1
    states = kept(plan.keep_state_epochs, plan.keep_state_steps) if plan.states else 0
    return files, states + (1 if plan.state_at_end else 0)
