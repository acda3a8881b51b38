"""Learning-rate schedules by name, with warm-up in steps or as a fraction of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from sd_scripts.errors import UserError
from sd_scripts.options.course import steps_of
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.options.optimizer_table import OPTIMIZERS
from sd_scripts.options.scheduler_table import TORCH_SCHEDULERS, TorchSchedulerEntry


def _specific(job: TrainingJob, total_steps: int, warmup: int) -> dict[str, Any]:
    """Return what only some schedules read, in the names of the transformers library."""
    options = job.optimizer
    match options.lr_scheduler:
        case "cosine_with_restarts":
            return {"num_cycles": options.lr_scheduler_num_cycles}
        case "polynomial":
            return {"power": options.lr_scheduler_power}
        case "inverse_sqrt":
            return {"timescale": options.lr_scheduler_timescale}
        case "cosine_with_min_lr":
            return {
                "num_cycles": options.lr_scheduler_num_cycles / 2,
                "min_lr_rate": options.lr_scheduler_min_lr_ratio or 0.0,
            }
        case "warmup_stable_decay":
            decay = steps_of(options.lr_decay_steps, total_steps)
            return {
                "num_decay_steps": decay,
                "num_stable_steps": max(0, total_steps - warmup - decay),
                "num_cycles": options.lr_scheduler_num_cycles / 2,
                "min_lr_ratio": options.lr_scheduler_min_lr_ratio or 0.0,
            }
        case _:
            return {}


def build_scheduler(job: TrainingJob, optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """Make the schedule of a job; it is stepped once an optimizer step, on every process alike."""
    options = job.optimizer
    name = options.lr_scheduler
    if OPTIMIZERS[options.optimizer_type].schedule_free:
        return LambdaLR(optimizer, lambda _: 1.0)
    if options.adafactor_sets_rate:
        from transformers.optimization import get_adafactor_schedule

        schedule: LRScheduler = get_adafactor_schedule(optimizer, options.learning_rate)  # type: ignore[no-untyped-call]
        return schedule
    if options.lr_scheduler_type is not None:
        return _of_torch(TORCH_SCHEDULERS[options.lr_scheduler_type], job, optimizer, total_steps)
    if name == "piecewise_constant":
        from diffusers.optimization import get_piecewise_constant_schedule

        return get_piecewise_constant_schedule(
            optimizer, str(options.lr_scheduler_arguments["step_rules"])
        )
    assert name != "adafactor", "the options keep this course to Adafactor's own rate"
    from transformers.optimization import get_scheduler

    warmup = steps_of(options.lr_warmup_steps, total_steps)
    stable_decay = name == "warmup_stable_decay"  # it is given the length of its middle instead
    try:
        found: LRScheduler = get_scheduler(
            name,
            optimizer,
            num_warmup_steps=warmup,
            num_training_steps=None if stable_decay else total_steps,
            scheduler_specific_kwargs=_specific(job, total_steps, warmup),
        )
        return found
    except ValueError as error:
        raise UserError(
            f"{name} does not accept these settings: {error}",
            option="lr_scheduler, learning_rate",
            hint="Choose a larger learning rate or another course.",
        ) from error


def _of_torch(
    entry: TorchSchedulerEntry, job: TrainingJob, optimizer: Optimizer, total_steps: int
) -> LRScheduler:
    """Make a scheduler class of PyTorch with `lr_scheduler_args`; the rest it is given here."""
    given = {entry.whole_run: total_steps} if entry.whole_run else {}
    arguments: dict[str, Any] = given | job.optimizer.lr_scheduler_arguments
    if entry.name == "MultiStepLR" and isinstance(arguments["milestones"], int):
        arguments["milestones"] = [arguments["milestones"]]
    if entry.name == "OneCycleLR":
        arguments["max_lr"] = [group["lr"] for group in optimizer.param_groups]
    kind: Callable[..., LRScheduler] = getattr(lr_scheduler, entry.name)
    try:
        return kind(optimizer, **arguments)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"{entry.name} does not accept these settings: {error}",
            option="lr_scheduler_args, lr_scheduler_type",
            hint="Check the values of the course's arguments, or choose another course.",
        ) from error


_PROGRESS: Final = frozenset(
    ("last_epoch", "_step_count", "_last_lr", "base_lrs", "T_cur", "T_i", "_is_initial")
)


def load_schedule(scheduler: LRScheduler, state: dict[str, Any]) -> None:
    """Give a saved state back to a schedule; what its class was told now (lengths, factors) holds.

    So a resumed run may be longer than the one that saved the state.
    """
    if isinstance(scheduler, LambdaLR):  # keeps its functions anyway
        scheduler.load_state_dict(state)
    else:
        progress = {name: value for name, value in state.items() if name in _PROGRESS}
        scheduler.load_state_dict(progress)
