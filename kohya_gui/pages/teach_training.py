"""The guided page's training: cards, check, start, watching, results, and what to do otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.forms import option_words
from kohya_gui.forms.starter import starter_is_there
from kohya_gui.guided.adjust import FAULTS, Adjustment, adjust
from kohya_gui.guided.goals import CARDS, STAGES, Card
from kohya_gui.guided.outcome import Checkpoint, advice_on, checkpoints_of, keep_result
from kohya_gui.guided.project import Project, Projects
from kohya_gui.guided.workshop import CardPlan, Ready, Workshop
from kohya_gui.jobs.feed import RunFeed
from kohya_gui.jobs.launch import commands_text
from kohya_gui.jobs.queue import Queued, Submitted
from kohya_gui.jobs.store import RunStore, RunSummary
from kohya_gui.locales import Texts
from kohya_gui.pages.dataset_jobs import Answer, in_words
from kohya_gui.reasons import told_row
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.runs.folder import RunFolder, safe_name
from sd_scripts.shipped import STARTER_MODEL

_TITLES: Final = {"sd1": "SD 1.x", "sd2": "SD 2.x", "sdxl": "SDXL"}


class TeachTraining:
    """What the script asks about a project's training. Each request names the project."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._text = context.text
        self._projects = Projects(context.workspace)
        self._workshop = Workshop(context)

    @property
    def functions(self) -> list[Callable[[object], Any]]:
        """What the script may call."""
        return [
            self.teach_models,
            self.teach_ready,
            self.teach_plan,
            self.teach_check,
            self.teach_check_look,
            self.teach_check_end,
            self.teach_start,
            self.teach_watch,
            self.teach_results,
            self.teach_pick,
            self.teach_again,
        ]

    # ---- ready ----
    @in_words
    def teach_models(self, _: Mapping[str, Any]) -> Answer:
        """Return models to choose from: those used before, and the small one that ships."""
        starter = str(STARTER_MODEL)
        rows = [_model_row(path) for path in self._workshop.models() if path != starter]
        shipped = [{**_model_row(starter), "name": self._text("teach.starter_model")}]
        return {"models": [*rows, *(shipped if starter_is_there() else [])]}

    @in_words
    def teach_ready(self, data: Mapping[str, Any]) -> Answer:
        """Return the machine, the model and the three cards, or what stands in the way."""
        project = self._project(data)
        ready = self._workshop.ready(project)
        if ready.working:
            return {"working": True}
        model = ready.look.model
        return {
            "model": model.text if model else "",
            "family": _TITLES.get(ready.look.facts.family, ""),
            "machine": self._machine(ready),
            "cards": [self._card(plan) for plan in ready.cards],
            "problems": [told_row(one) for one in ready.problems],
            "changes": self._changes(project.changes),
            "length": project.length,
        }

    def _machine(self, ready: Ready) -> str:
        machine = ready.machine
        memory = {"memory": _gigabytes(machine.memory), "free": _gigabytes(machine.free)}
        return self._text(
            f"teach.machine_{machine.kind}", name=machine.name, cores=machine.cores, **memory
        )

    @staticmethod
    def _card(plan: CardPlan) -> Answer:
        return {
            "card": plan.card,
            "seconds": list(plan.cost.seconds),
            "measured": plan.cost.measured,
            "memory": plan.cost.memory,
            "memory_free": plan.memory_free,
            "fits_memory": plan.fits_memory,
            "saves_memory": plan.saves_memory,
            "disk": plan.cost.disk,
            "disk_free": plan.disk_free,
            "fits_disk": plan.fits_disk,
            "steps": plan.length.steps,
            "looks": plan.length.looks,
            "held": plan.length.held,
        }

    @in_words
    def teach_plan(self, data: Mapping[str, Any]) -> Answer:
        """Return what exactly would run: in words, as TOML, and as a command."""
        plan = self._plan(data)
        prepared, job = self._workshop.job(plan)
        example = f"{safe_name(prepared.name)}-{time.strftime('%Y%m%d-%H%M%S')}"
        run = RunFolder(self._context.workspace.runs / example)
        processes = self._context.settings().processes
        return {
            "summary": self._summary(plan),
            "toml": job_to_toml(job, only_changed=True),
            "command": commands_text(TrainNetworkJob.name, run, processes),
            "prompts": prepared.prompt_text,
        }

    def _summary(self, plan: CardPlan) -> list[str]:
        values, length, text = plan.values, plan.length, self._text
        which = "unet" if values.get("network_train_unet_only") else "both"
        told = [
            text("teach.sum.steps", steps=length.steps, looks=length.looks),
            text(f"teach.sum.{which}", rank=values.get("network_dim", 4)),
            text("teach.sum.rate", rate=f"{values['learning_rate']:g}"),
            text("teach.sum.stages", count=STAGES, every=length.stage),
        ]
        if prefix := values.get("caption_prefix"):
            told.append(text("teach.sum.prefix", prefix=prefix))
        if values.get("flip_aug"):
            told.append(text("teach.sum.flip"))
        if values.get("reg_data_dir"):
            told.append(text("teach.sum.class"))
        if values.get("validation_split"):
            told.append(text("teach.sum.held"))
        if length.held:
            told.append(text(f"teach.sum.{length.held}"))
        if plan.saves_memory:
            told.append(text("teach.sum.memory"))
        return told

    @in_words
    def teach_check(self, data: Mapping[str, Any]) -> Answer:
        """Let the trainer look at everything, without training."""
        prepared, job = self._workshop.job(self._plan(data))
        prepared.write_prompts()
        return {"check": self._context.checks.start(TrainNetworkJob.name, job_to_toml(job))}

    @in_words
    def teach_check_look(self, data: Mapping[str, Any]) -> Answer:
        """Return how a check stands."""
        return self._context.checks.look(str(data.get("check") or ""))

    @in_words
    def teach_check_end(self, data: Mapping[str, Any]) -> Answer:
        """End a check that nobody waits for."""
        self._context.checks.cancel(str(data.get("check") or ""))
        return {}

    @in_words
    def teach_start(self, data: Mapping[str, Any]) -> Answer:
        """Start the chosen card, or put it into the queue."""
        project, plan = self._project(data), self._plan(data)
        if data.get("revision") not in (None, project.revision):
            raise UserError(self._text("teach.started_elsewhere"))
        if not plan.fits_disk:
            needed, free = _gigabytes(plan.cost.disk), _gigabytes(plan.disk_free)
            raise UserError(
                self._text("teach.no_disk", needed=needed, free=free),
                hint=self._text("teach.no_disk_hint"),
            )
        match self._workshop.start(plan, project.run or None):
            case Submitted(run=run, text=text):
                new = {"run": run.id, "queued": "", "runs": (*project.runs, run.id)}
            case Queued(id=job_id, text=text):
                new = {"run": "", "queued": job_id}
            case other:
                raise UserError(other.text)
        values = {"card": plan.card, "step": "watch", "picked": "", "tried_order": "", **new}
        self._projects.change(project.id, values)
        return {"told": text}

    def _plan(self, data: Mapping[str, Any]) -> CardPlan:
        project = self._project(data)
        ready = self._workshop.ready(project)
        if ready.problems:
            raise UserError.of(ready.problems)
        wanted: Card = next((card for card in CARDS if card == data.get("card")), project.card)
        found = next((plan for plan in ready.cards if plan.card == wanted), None)
        if found is None:
            raise UserError(self._text("teach.not_ready"))
        return found

    # ---- watch ----
    @in_words
    def teach_watch(self, data: Mapping[str, Any]) -> Answer:
        """Return the run of a project, or its place in the queue while it waits."""
        project = self._project(data)
        if project.queued and not project.run:
            project = self._followed(project)
        waiting = [job.id for job in self._context.queue.items()]
        answer: Answer = {"run": project.run, "revision": project.revision, "waits": ""}
        if project.queued and project.queued in waiting:
            place = waiting.index(project.queued) + 1
            problem = self._context.queue.items()[place - 1].problem
            answer["waits"] = problem or self._text("teach.waits", place=place)
        return answer

    def _followed(self, project: Project) -> Project:
        """Return a project with the run that the queue has made of its job, if it has."""
        found = next(
            (one for one in self._context.store.list() if one.queue_id == project.queued), None
        )
        if found is None:
            return project
        new = {"run": found.id, "queued": "", "runs": (*project.runs, found.id)}
        return self._projects.change(project.id, new)

    # ---- pick ----
    @in_words
    def teach_results(self, data: Mapping[str, Any]) -> Answer:
        """Return what the run has saved, and which of it to begin with."""
        project = self._project(data)
        found = results_of(self._run(project))
        advice = advice_on(found)
        return {
            "checkpoints": [
                {
                    "step": one.step,
                    "file": str(one.path),
                    "name": one.path.name,
                    "bytes": one.path.stat().st_size,
                    "loss": one.loss,
                }
                for one in found
            ],
            "advice": advice.step if advice else None,
            "reason": self._text(f"teach.advice.{advice.reason}") if advice else "",
            "picked": project.picked,
        }

    @in_words
    def teach_pick(self, data: Mapping[str, Any]) -> Answer:
        """Keep a result in the workspace's folder of results."""
        project = self._project(data)
        found = results_of(self._run(project))
        chosen = next((one for one in found if one.step == data.get("step")), None)
        if chosen is None:
            raise UserError(self._text("teach.no_result"))
        name = safe_name(project.name, fallback=project.goal)
        kept = keep_result(self._context.workspace, chosen.path, name)
        self._projects.change(project.id, {"picked": str(kept)})
        return {"picked": str(kept)}

    @in_words
    def teach_again(self, data: Mapping[str, Any]) -> Answer:
        """Tell what the next run would do otherwise; with `apply`, make it the project's plan."""
        project = self._project(data)
        fault = next((one for one in FAULTS if one == data.get("fault")), None)
        if fault is None:
            raise UserError(self._text("teach.no_fault"))
        family = self._run(project).status.family
        if family not in _TITLES:
            raise UserError(self._text("teach.run_unknown"))
        values = self._workshop.base(project, family)
        wanted = adjust(fault, values, project)
        if data.get("apply"):
            new = {"changes": project.changes | dict(wanted.changes), "length": wanted.length}
            step = "words" if wanted.words else "ready"
            self._projects.change(project.id, {**new, "step": step})
            return {"step": step}
        return {
            "reasons": [self._text(f"teach.next.{reason}") for reason in wanted.reasons],
            "rows": self._difference(values, wanted, project),
        }

    def _difference(
        self, values: Mapping[str, Any], wanted: Adjustment, project: Project
    ) -> list[dict[str, str]]:
        rows = [
            {**row, "before": _shown(values.get(row["option"]))}
            for row in self._changes(wanted.changes)
        ]
        if wanted.length != project.length:
            label = self._text("teach.length")
            before, after = f"× {project.length:.2g}", f"× {wanted.length:.2g}"
            rows.append({"option": "", "label": label, "before": before, "after": after})
        return rows

    def _changes(self, changes: Mapping[str, Any]) -> list[dict[str, str]]:
        specs = specs_by_name(TrainNetworkJob)
        return [
            {
                "option": name,
                "label": option_words.label(specs[name], self._text),
                "after": _shown(value),
            }
            for name, value in changes.items()
            if name in specs
        ]

    # ---- helpers ----
    def _project(self, data: Mapping[str, Any]) -> Project:
        return asked_project(self._projects, data, self._text)

    def _run(self, project: Project) -> RunSummary:
        return run_of(self._context.store, project, self._text)


def run_of(store: RunStore, project: Project, text: Texts) -> RunSummary:
    """Return a project's run. Raises `UserError` if it is gone."""
    summary = store.summary(project.run)
    if summary is None:
        raise UserError(text("teach.run_gone"), hint=text("teach.run_gone_hint"))
    return summary


def results_of(summary: RunSummary) -> tuple[Checkpoint, ...]:
    """Return what a run has saved and is still there."""
    feed = RunFeed(summary.folder.events)
    feed.poll()
    return checkpoints_of(summary.folder, feed.saves, feed.chart().validation)


def asked_project(projects: Projects, data: Mapping[str, Any], text: Texts) -> Project:
    """Return the project that a request names. Raises `UserError` if it is gone."""
    project = projects.load(str(data.get("project") or ""))
    if project is None:
        raise UserError(text("teach.gone"))
    return project


def _model_row(path: str) -> dict[str, str]:
    return {"file": path, "name": Path(path).name}


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f}"


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
