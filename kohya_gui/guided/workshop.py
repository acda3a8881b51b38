"""What the guided page works with: pictures and model of a project as they are, cards, the job."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from kohya_gui.context import Context
from kohya_gui.datasets.places import place_of
from kohya_gui.forms.live import Insight, Live
from kohya_gui.forms.preparation import Prepared, prepare
from kohya_gui.guided.goals import CARDS, GOALS, Card
from kohya_gui.guided.length import Length, length_of
from kohya_gui.guided.plan import (
    Facts,
    Values,
    base_values,
    draft_of,
    prompts_of,
    saving_memory,
    with_length,
    workload_of,
)
from kohya_gui.guided.project import Project
from kohya_gui.jobs.costs import Cost, Measured, cost_of, earlier_steps, newest_jobs
from kohya_gui.jobs.launch import JobRequest
from kohya_gui.jobs.machine import Machine, look_at_machine
from kohya_gui.jobs.queue import Queued, Refused, Submitted
from sd_scripts.dataset.caption_files import CAPTION_SUFFIXES
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.errors import Problem, UserError, errors_among
from sd_scripts.families.detect import ModelInfo
from sd_scripts.files import nearest_folder
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values
from sd_scripts.train.preflight import RESERVE_BYTES

_MODEL: Final = "pretrained_model_name_or_path"
_ROOM: Final = 0.95
_MOST_FILES: Final = 20_000


@dataclass(frozen=True)
class Look:
    """What is known of a project now. `plan` and `model` are None until they were looked at."""

    insight: Insight
    facts: Facts
    model: ModelInfo | None
    plan: DatasetPlan | None

    @property
    def working(self) -> bool:
        """Whether files are still being looked at."""
        return self.insight.working

    @property
    def num_pictures(self) -> int:
        """How many pictures are used."""
        return sum(not one.is_reg for one in self.plan.samples) if self.plan else 0


@dataclass(frozen=True)
class CardPlan:
    """One card: its job, what it costs, and what stands in its way."""

    card: Card
    values: Values
    prompts: tuple[str, ...]
    length: Length
    cost: Cost
    memory_free: int
    disk_free: int

    @property
    def saves_memory(self) -> bool:
        """Whether it takes longer so as to need less memory."""
        return bool(self.values.get("gradient_checkpointing"))

    @property
    def fits_memory(self) -> bool:
        """Whether the estimated memory is free now."""
        return self.cost.memory <= self.memory_free * _ROOM

    @property
    def fits_disk(self) -> bool:
        """Whether the disk has room for it, and the reserve that every run wants."""
        return self.cost.disk + RESERVE_BYTES <= self.disk_free


@dataclass(frozen=True)
class Ready:
    """All cards of a project, or why there are none yet."""

    look: Look
    machine: Machine
    working: bool = False
    cards: tuple[CardPlan, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


class Workshop:
    """Works on projects for any number of pages at once; keeps nothing of its own."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._live = Live(context.scans, context.workspace, context.text)

    # ---- what is there ----
    def look(self, project: Project, *, again: bool = False) -> Look:
        """Look at model and pictures without waiting; with `again`, as they are just now."""
        folder = Path(project.folder) if project.folder else None
        decisions = place_of(self._context.workspace, folder).decisions if folder else None
        facts = Facts(
            family="",
            caption_extension=_ending(folder) if folder else CAPTION_SUFFIXES[0],
            decisions=decisions if decisions is not None and decisions.is_file() else None,
        )
        values: Values = {
            "caption_extension": facts.caption_extension,
            # The size changes nothing here, but the model need not be known before the pictures.
            "resolution": "512",
        }
        given = {_MODEL: project.model, "train_data_dir": project.folder}
        values |= {name: value for name, value in given.items() if value}
        if facts.decisions is not None:
            values["picture_decisions"] = str(facts.decisions)
        draft = draft_of(values, ())
        if again:
            self._live.look_again(draft)
        insight = self._live.look(draft)
        found = insight.model.found if insight.model is not None else None
        model = found if isinstance(found, ModelInfo) else None
        plan = insight.plan
        captions = [one.caption for one in plan.samples if not one.is_reg] if plan else []
        facts = replace(
            facts,
            family=insight.family or "",
            prediction_type=insight.prediction_type,
            num_parameters=model.num_parameters if model else 0,
            captions=tuple(captions),
        )
        return Look(insight, facts, model, plan)

    def models(self) -> list[str]:
        """Return the models that were trained on before and are still there, the newest first."""
        jobs = newest_jobs(self._context.store, TrainNetworkJob.name)
        found = dict.fromkeys(str(values.get(_MODEL) or "") for _, values in jobs)
        return [path for path in found if path and Path(path).exists()]

    # ---- cards ----
    def ready(self, project: Project) -> Ready:
        """Work out the three cards. Without problems there may still be none: files are read."""
        look, machine = self.look(project), look_at_machine()
        problems = tuple(errors_among(look.insight.problems))
        if look.working or problems or not look.facts.family or not look.num_pictures:
            return Ready(look, machine, look.working, problems=problems)
        base = base_values(project, look.facts, machine)
        earlier = earlier_steps(self._context.store, TrainNetworkJob.name, look.facts.family)
        cards: list[CardPlan] = []
        for card in CARDS:
            plan = self._plan(project, look, card, base, machine, earlier)
            for more in (False, True):
                if isinstance(plan, CardPlan) and not plan.fits_memory:
                    small = saving_memory(base, more=more)
                    plan = self._plan(project, look, card, small, machine, earlier)
            if not isinstance(plan, CardPlan):
                return Ready(look, machine, plan.working, problems=tuple(plan.errors))
            cards.append(plan)
        return Ready(look, machine, cards=tuple(cards))

    def _plan(
        self,
        project: Project,
        look: Look,
        card: Card,
        base: Values,
        machine: Machine,
        earlier: list[Measured],
    ) -> CardPlan | Insight:
        """Return a card, or how the look at its pictures stands while that is not done."""
        goal = GOALS[project.goal]
        prompts = prompts_of(project, goal, look.facts)
        insight = self._live.look(draft_of(base, prompts))
        plan, arithmetic = insight.plan, insight.arithmetic
        if plan is None or arithmetic is None or insight.errors or not arithmetic.steps_per_epoch:
            return insight
        number = sum(not one.is_reg for one in plan.samples)
        length = length_of(goal, card, number, plan.num_train_images, arithmetic, project.length)
        values = with_length(base, length, card, number)
        load = workload_of(values, look.facts, length.steps, number, len(prompts))
        cost = cost_of(load, machine, project.model, earlier)
        disk = shutil.disk_usage(nearest_folder(self._context.workspace.runs)).free
        return CardPlan(card, values, prompts, length, cost, machine.free, disk)

    def base(self, project: Project, family: str) -> Values:
        """Return the job of a project for a kind of model that is known, without looking at it."""
        return base_values(project, Facts(family), look_at_machine())

    # ---- the job ----
    def job(self, plan: CardPlan) -> tuple[Prepared, TrainNetworkJob]:
        """Return the whole job of a card. Raises `UserError` with everything that is wrong."""
        prepared = prepare(draft_of(plan.values, plan.prompts), self._context.workspace)
        if prepared.problems:
            raise UserError.of(prepared.problems)
        job = job_from_values(TrainNetworkJob, prepared.values)
        assert isinstance(job, TrainNetworkJob)
        return prepared, job

    def start(self, plan: CardPlan, parent: str | None) -> Submitted | Queued | Refused:
        """Start a card's job, or let it wait. Raises `UserError` and `OSError`."""
        prepared, job = self.job(plan)
        prepared.write_prompts()
        settings = self._context.settings()
        request = JobRequest(
            job_name=TrainNetworkJob.name,
            config_toml=job_to_toml(job),
            name=prepared.name,
            parent=parent,
            allow_hub=settings.allow_hub,
            processes=settings.processes,
        )
        return self._context.queue.submit(request, "queue")


def _ending(folder: Path) -> str:
    """Return the ending that most caption files have, here and one folder deeper."""
    found: Counter[str] = Counter()
    places = [folder]
    seen = 0
    for place in places:
        try:
            for entry in os.scandir(place):
                seen += 1
                if seen > _MOST_FILES:
                    break
                if place is folder and entry.is_dir():
                    places.append(Path(entry.path))
                found[os.path.splitext(entry.name)[1].lower()] += 1
        except OSError:
            continue  # told where the folder is chosen
    return max(CAPTION_SUFFIXES, key=lambda ending: found[ending])
