"""How many steps a job takes, by sd-scripts' formula, with the arithmetic in words."""

from __future__ import annotations

from dataclasses import dataclass

from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.dataset.words import count

DEFAULT_MAX_TRAIN_STEPS = 1600


@dataclass(frozen=True)
class StepArithmetic:
    """The length of a job.

    `batches_per_epoch` counts all processes together; a step is one update of the weights.
    `text` is the whole arithmetic on one line.
    """

    batches_per_epoch: int
    steps_per_epoch: int
    num_epochs: int
    total_steps: int
    text: str


def step_arithmetic(
    plan: DatasetPlan,
    *,
    max_train_steps: int | None,
    max_train_epochs: int | None,
    gradient_accumulation_steps: int = 1,
    num_processes: int = 1,
) -> StepArithmetic:
    """Steps and epochs of `plan`; epochs win over steps, and with neither it is 1600 steps.

    Steps an epoch = ceil(batches / processes / accumulation). A plan without batches gives zeros.
    """
    batches = plan.num_batches_per_epoch
    per_step = num_processes * gradient_accumulation_steps
    steps_per_epoch = -(-batches // per_step)
    if not steps_per_epoch:
        return StepArithmetic(0, 0, 0, 0, "no pictures → no steps")
    if max_train_epochs is not None:
        num_epochs, total = max_train_epochs, max_train_epochs * steps_per_epoch
    else:
        total = DEFAULT_MAX_TRAIN_STEPS if max_train_steps is None else max_train_steps
        num_epochs = -(-total // steps_per_epoch)
    divided = _batches_text(plan)
    if num_processes > 1:
        divided = f"{divided} ÷ {num_processes} processes"
    if gradient_accumulation_steps > 1:
        divided = f"{divided} ÷ {gradient_accumulation_steps} accumulated"
    length = _length_text(
        steps_per_epoch, num_epochs, total, by_epochs=max_train_epochs is not None
    )
    text = f"{_pass_text(plan)} → {divided} → {length}"
    return StepArithmetic(batches, steps_per_epoch, num_epochs, total, text)


def _pass_text(plan: DatasetPlan) -> str:
    """`24 pictures × 10 repeats = 240 a pass`; sums where folders have different repeats."""
    by_repeats: dict[int, int] = {}
    for sample in plan.samples:
        if not sample.is_reg:
            by_repeats[sample.num_repeats] = by_repeats.get(sample.num_repeats, 0) + 1
    terms = [
        f"{count(pictures, 'picture')} × {count(repeats, 'repeat')}"
        for repeats, pictures in sorted(by_repeats.items(), reverse=True)
    ]
    if plan.num_reg_images:
        terms.append(f"{plan.num_reg_images} regularisation")
    return f"{' + '.join(terms)} = {plan.num_train_images + plan.num_reg_images} a pass"


def _batches_text(plan: DatasetPlan) -> str:
    """`60 batches of 4`; says `up to` where some are short because a bucket does not fill them."""
    terms = []
    for dataset in plan.datasets:
        if not dataset.num_batches:
            continue
        size = dataset.settings.batch_size
        full = dataset.num_batches * size == sum(dataset.bucket_counts.values())
        upto = "" if full else "up to "
        terms.append(f"{count(dataset.num_batches, 'batch', 'batches')} of {upto}{size}")
    return " + ".join(terms)


def _length_text(steps_per_epoch: int, num_epochs: int, total: int, *, by_epochs: bool) -> str:
    epoch = f"{count(steps_per_epoch, 'step')} an epoch"
    if by_epochs or num_epochs * steps_per_epoch == total:
        return f"{epoch} × {count(num_epochs, 'epoch')} = {count(total, 'step')}"
    last = total - (num_epochs - 1) * steps_per_epoch
    return (
        f"{epoch}; {count(total, 'step')} = {count(num_epochs, 'epoch')},"
        f" the last one ends after {count(last, 'step')}"
    )
