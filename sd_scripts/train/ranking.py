"""Ranking pictures by their loss: those that a model cannot make sense of stand at the top.

A high loss may only mean a busy picture. What points at a wrong caption is a small `caption_gain`:
how much higher the loss is without the caption than with it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from sd_scripts.data.loader import BatchSource
from sd_scripts.dataset.captions import CaptionRules
from sd_scripts.dataset.samples import DatasetPlan, Sample
from sd_scripts.dataset.split import without_chance
from sd_scripts.files import write_atomic
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.options.values import replace_values
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests, StopRequested
from sd_scripts.script import Ending
from sd_scripts.train.measure import Measure, fixed_timesteps
from sd_scripts.train.run import open_session
from sd_scripts.train.session import Session

_PHASE: Final = "measuring pictures"
_TOLD: Final = 10
_NEEDLESS: Final = {
    "sample_prompts": None,
    "logging_dir": None,
    "log_with": None,
    "resume": None,
    "validation_split": 0.0,
}


@dataclass(frozen=True)
class Ranked:
    """One picture with its mean loss, how much its caption helps, and its loss by timestep."""

    loss: float
    caption_gain: float
    path: str
    caption: str
    by_timestep: dict[str, float]


def rank_losses(
    job: TrainingJob, run: RunFolder, reporter: Reporter, requests: Requests
) -> tuple[Ending, str]:
    """Measure every picture of a training and write `losses.csv` and `losses.json`.

    Raises `UserError` for what the user can mend.
    """
    job = replace_values(job, _NEEDLESS)
    try:
        session = open_session(job, run, reporter, requests)
        try:
            ranked = _measure_all(session, job)
        finally:
            session.close()
    except StopRequested:
        return "stopped", "Stopped on request before all pictures were measured"
    _write(run, ranked)
    for one in ranked[:_TOLD]:
        reporter.say(f"loss {one.loss:.4f}  caption gain {one.caption_gain:+.4f}  {one.path}")
    path = run.output / "losses.csv"
    return "finished", f"Measured {len(ranked)} pictures; the list is {path}"


def pictures_to_measure(plan: DatasetPlan) -> DatasetPlan:
    """Return a plan of every own picture, once and without chance."""
    own = [without_chance(one) for one in plan.all_samples if not one.is_reg]
    first = len(plan.samples)
    numbered = tuple(replace(one, id=first + place) for place, one in enumerate(own))
    return replace(plan, validation=numbered).for_validation()


def without_captions(plan: DatasetPlan) -> DatasetPlan:
    """Return the same plan with empty captions."""
    empty = tuple(replace(one, caption="", rules=CaptionRules()) for one in plan.samples)
    return replace(plan, samples=empty)


def _measure_all(session: Session, job: TrainingJob) -> list[Ranked]:
    """Return every picture's losses, the highest first. Raises `StopRequested`."""
    assert job.training.seed is not None
    measure = Measure(
        session.model,
        session.objective,
        session.latents,
        session.text,
        session.autocast,
        session.dtype,
        session.accelerator.device,
        session.method.trainable_modules,
    )
    times = fixed_timesteps(job.objective.timestep_range)
    plan = pictures_to_measure(session.source.plan)
    told = session.source.of_plan(plan, job.training.seed)
    untold = session.source.of_plan(without_captions(plan), job.training.seed)
    total = 2 * told.batches_per_epoch
    with_caption = _losses(session, measure, told, times, (0, total))
    without = _losses(session, measure, untold, times, (total // 2, total))
    session.reporter.phase(_PHASE, total, total)
    ranked = [
        _ranked(sample, with_caption[sample.id], without[sample.id], times)
        for sample in plan.samples
    ]
    return sorted(ranked, key=lambda one: (-one.loss, one.path))


def _losses(
    session: Session,
    measure: Measure,
    source: BatchSource,
    timesteps: Sequence[int],
    progress: tuple[int, int],
) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    try:
        for done, batch in enumerate(source.epoch(1)):
            session.requests.raise_if_stopped()
            session.reporter.phase(_PHASE, progress[0] + done, progress[1])
            losses = measure.losses(batch, timesteps).T.tolist()
            found |= dict(zip(batch.sample_ids, losses, strict=True))
    finally:
        source.close()
    return found


def _ranked(
    sample: Sample, losses: list[float], without: list[float], timesteps: Sequence[int]
) -> Ranked:
    mean = sum(losses) / len(losses)
    return Ranked(
        loss=mean,
        caption_gain=sum(without) / len(without) - mean,
        path=str(sample.path.absolute()),
        caption=sample.caption,
        by_timestep={str(time): loss for time, loss in zip(timesteps, losses, strict=True)},
    )


def _write(run: RunFolder, ranked: Sequence[Ranked]) -> None:
    run.output.mkdir(parents=True, exist_ok=True)
    facts = [asdict(one) for one in ranked]
    text = json.dumps(facts, indent=2, ensure_ascii=True)
    write_atomic(run.output / "losses.json", text)
    table = io.StringIO()
    times = list(ranked[0].by_timestep)
    writer = csv.writer(table, lineterminator="\n")
    columns = [f"loss_{time}" for time in times]
    writer.writerow(["rank", "loss", "caption_gain", *columns, "path", "caption"])
    for place, one in enumerate(ranked, 1):
        row = [place, one.loss, one.caption_gain, *one.by_timestep.values(), one.path, one.caption]
        writer.writerow(row)
    data = table.getvalue().encode("utf-8-sig", "backslashreplace")  # the mark is for Excel
    write_atomic(run.output / "losses.csv", data)
