"""The training loop: batches in, steps out, and what is due after each step and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

import torch
from torch import Tensor

from sd_scripts.data.batch import Batch
from sd_scripts.errors import Problem
from sd_scripts.families.base import TextConditioning
from sd_scripts.runs.machine import give_back_memory
from sd_scripts.train.ema import weights_to_use
from sd_scripts.train.guard import explain_invalid_loss
from sd_scripts.train.optimizers import learning_rates
from sd_scripts.train.session import Session
from sd_scripts.train.validation import validate

_NO_PROMPTS: Final = Problem(
    "A preview was asked for, but this run has no prompts",
    "sample_prompts",
    "Give a prompt file in the next run.",
    "warning",
)


@dataclass(frozen=True)
class Step:
    """One optimizer step: its number and epoch (from 1), mean loss, and if it ended the epoch."""

    number: int
    epoch: int
    loss: float
    ends_epoch: bool


def train(session: Session) -> Literal["finished", "stopped"]:
    """Train to the end, or until a stop is asked for; what was learned is saved either way."""
    session.reporter.start(session.start)
    if session.job.preview.sample_at_first and not session.position.step:
        preview(session, f"{0:06d}")
    give_back_memory()  # loading and encoding needed more than steps do
    session.reporter.begin_steps()
    for step in steps(session):
        rates = learning_rates(session.optimizer)
        more = session.method.step_facts
        session.reporter.step(step.number, step.epoch, step.loss, rates, more)
        ends = ends_epoch(session, step)
        session.tracker.step(step.number, step.loss, rates, more, ends_epoch=ends)
        if session.team.leads:
            session.recorder.hash_base_in_background()
        if after_step(session, step):
            session.reporter.begin_steps()
        if session.course.stop() and step.number < session.arithmetic.total_steps:
            session.saver.stopped(session.position)
            return "stopped"
    session.saver.finish(session.position)
    return "finished"


def steps(session: Session) -> Iterator[Step]:
    """Yield one item an optimizer step, from the session's position to the last step."""
    position, arithmetic = session.position, session.arithmetic
    accumulation = session.job.training.gradient_accumulation_steps
    if position.batch >= session.source.batches_per_epoch:
        # A state of more pictures than there are now: the epoch it stood in is over.
        position.epoch, position.batch = position.epoch + 1, 0
    while position.step < arithmetic.total_steps:
        epoch = position.epoch + 1
        batches = session.source.epoch(epoch, position.batch)
        while position.step < arithmetic.total_steps and (
            group := list(islice(batches, accumulation))
        ):
            with session.course.in_step():
                loss = optimize(session, group)
            position.step += 1
            position.batch += len(group)
            ends_epoch = position.batch >= session.source.batches_per_epoch
            if ends_epoch:
                position.epoch, position.batch = epoch, 0
            yield Step(position.step, epoch, loss, ends_epoch)
            if ends_epoch:
                break


def optimize(session: Session, batches: list[Batch]) -> float:
    """Do one optimizer step on the mean loss of `batches`; returns that loss."""
    stepper, number = session.stepper, session.position.step + 1
    stepper.begin(number)
    assert session.job.training.seed is not None, "the entry draws a seed"
    session.course.begin(session.job.training.seed, number)
    losses = []
    for batch in batches:
        loss, inputs = forward(session, batch)
        if stepper.in_backward:
            check_numbers(session, loss.detach(), None, inputs, batch)
        session.accelerator.backward(loss / len(batches))
        losses.append(loss.detach())
    own = torch.stack(losses).mean()
    mean = session.course.meet(own, session.trainable)
    norm = stepper.step() if stepper.in_backward else clip_gradients(session)
    check_numbers(session, mean, norm, inputs, batches[-1], own)
    if not stepper.in_backward:
        stepper.step()
    if not session.accelerator.optimizer_step_was_skipped:  # as the scaler of fp16 may do
        session.scheduler.step()
    session.optimizer.zero_grad(set_to_none=True)
    session.method.after_step(number)
    if session.ema is not None:
        session.ema.update()
    return float(mean)


def check_numbers(
    session: Session,
    loss: Tensor,
    norm: Tensor | None,
    inputs: tuple[Tensor, TextConditioning],
    batch: Batch,
    own: Tensor | None = None,
) -> None:
    """Raise `UserError` with the likely cause if the loss or the gradients' norm is no number.

    Of several processes, the first one whose `own` loss is none knows the cause best.
    """
    check = loss if norm is None else torch.stack([loss, norm.to(loss.device)])
    if torch.isfinite(check).all():
        return
    error = explain_invalid_loss(
        session.job,
        step=session.position.step + 1,
        latents=inputs[0],
        text=inputs[1].hidden,
        trained=session.trainable,
        names=batch.names,
    )
    if own is not None and torch.isfinite(own).all():
        session.team.exchange()
    raise error


def forward(session: Session, batch: Batch) -> tuple[Tensor, tuple[Tensor, TextConditioning]]:
    """Return the loss of one batch, and its latents [B, 4, h, w] and conditioning."""
    model = session.model
    batch = batch.to(session.accelerator.device)
    latents = session.latents(batch)
    prepared = session.objective.prepare(latents, batch.noise_seeds)
    extra = model.family.conditioning_inputs(
        batch.original_sizes, batch.crop_top_lefts, batch.target_sizes
    )
    with session.autocast():
        text = session.text(batch)
        prediction = model.family.predict(
            model, prepared.noisy.to(session.dtype), prepared.timesteps, text, extra
        )
    loss = session.objective.loss(
        prediction, prepared.target, prepared.timesteps, batch.loss_weights, batch.masks
    )
    return loss, (latents, text)


def clip_gradients(session: Session) -> Tensor | None:
    """Limit the gradients' norm; returns it, or None if it is not known or cannot be judged.

    The gradient scaler of fp16 meets overflows on purpose and skips such steps by itself.
    """
    limit = session.job.optimizer.max_grad_norm
    if not limit:
        return None
    norm = session.course.clip(session.trainable, limit)
    if norm is not None:
        return norm
    norm = session.accelerator.clip_grad_norm_(session.trainable, limit)
    return None if session.accelerator.scaler is not None else norm


def ends_epoch(session: Session, step: Step) -> bool:
    """Whether a step ends its epoch, or the run within it."""
    return step.ends_epoch or step.number == session.arithmetic.total_steps


def after_step(session: Session, step: Step) -> bool:
    """Save, preview or wait where that is due; tells whether any of it took time."""
    saver, requests, options = session.saver, session.requests, session.job.preview
    due_now = session.course.due
    worked = saver.after_step(session.position)
    if step.ends_epoch:
        worked |= saver.after_epoch(session.position)
    worked |= validate(session, step)
    if due_now("save"):
        saver.on_request(session.position)
        requests.done("save")
        worked = True
    by_epoch, by_step = options.sample_every_n_epochs, options.sample_every_n_steps
    if by_epoch:
        due = ends_epoch(session, step) and step.epoch % by_epoch == 0
    else:
        due = by_step is not None and step.number % by_step == 0
    if due or due_now("sample"):
        preview(session, f"e{step.epoch:06d}" if by_epoch and due else f"{step.number:06d}")
        worked = True
        if due_now("sample"):
            requests.done("sample")
    return requests.wait_while_paused() or worked


def preview(session: Session, stage: str) -> None:
    """Make the preview pictures; says so if there are no prompts to make them of."""
    if not session.has_prompts:
        if session.requests.due("sample"):
            session.reporter.warn(_NO_PROMPTS)
        return
    step, reporter = session.position.step, session.reporter
    with weights_to_use(session.optimizer, session.ema), session.course.leader_computes():
        if session.previewer is not None:
            painted = session.previewer.make(stage, step, reporter, session.requests.stop)
            session.tracker.previews(step, painted)
    give_back_memory()
