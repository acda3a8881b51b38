"""The guided page: six questions from a folder of pictures to a LoRA, each answer kept."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from kohya_gui.caption_results import CaptionResults
from kohya_gui.context import Context
from kohya_gui.datasets.places import remember_folder
from kohya_gui.forms.starter import starter_is_there
from kohya_gui.guided.goals import CARDS, GOALS
from kohya_gui.guided.plan import is_starter, kind_of, prefix_of, word_of
from kohya_gui.guided.project import ANSWERS, STEPS, ChangedError, Project, Projects
from kohya_gui.guided.trigger import check_word, count_with, suggest_word
from kohya_gui.guided.uploads import Piece, take_piece, upload_folder
from kohya_gui.guided.workshop import Look, Workshop
from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.dataset_doctor import DatasetDoctor
from kohya_gui.pages.dataset_jobs import Answer, in_words, start_job
from kohya_gui.pages.dataset_pictures import PictureAnswers
from kohya_gui.pages.folders import folder_lister
from kohya_gui.pages.run_actions import RunActions
from kohya_gui.pages.shell import Page, widget
from kohya_gui.pages.teach_training import TeachTraining, asked_project
from kohya_gui.pages.teach_trying import TeachTrying
from kohya_gui.quick_gradio import gr
from sd_scripts.errors import UserError, errors_among
from sd_scripts.files import write_atomic
from sd_scripts.options.jobs import MakeCaptionsJob, TagImagesJob
from sd_scripts.shipped import STARTER_MODEL, STARTER_PICTURES

FEW: Final = 5
"""Fewer pictures than this are told to be too few to learn from."""
_SHIPPED_THRESHOLD: Final = 0.75
"""The small tagger names things that it has never seen; only what it is sure of is written."""
_Ask = Callable[["TeachAnswers", Mapping[str, Any]], Answer]


def changing(function: _Ask) -> Callable[[TeachAnswers, object], Answer]:
    """Tell a page that writes last what somebody else has changed before it."""

    @functools.wraps(function)
    def call(self: TeachAnswers, data: Mapping[str, Any]) -> Answer:
        try:
            return function(self, data)
        except ChangedError as error:
            return {"stale": self.row(error.latest), "told": self.text("teach.stale")}

    return in_words(call)


def _build(context: Context) -> None:
    text = context.text
    gr.HTML(
        f'<h1 class="kg-page-title">{escape(text("teach.title"))}</h1>'
        f'<p class="kg-lead">{escape(text("teach.lead"))}</p>',
        apply_default_css=False,
        js_on_load=None,
        elem_id="kg-teach-head",
    )
    desk = DatasetDesk(context, gr.Textbox(visible="hidden", elem_id="kg-teach-folder"))
    answers = TeachAnswers(desk)
    doctor, pictures = DatasetDoctor(desk), PictureAnswers(desk)
    results, runs = CaptionResults(context, ""), RunActions(context)
    widget(
        "teach",
        server=[
            *answers.functions,
            *TeachTraining(context).functions,
            *TeachTrying(context).functions,
            *(doctor.doctor_start, doctor.doctor_state, doctor.doctor_stop, doctor.doctor_report),
            *(doctor.doctor_remedy, doctor.doctor_turn, doctor.doctor_small),
            *(pictures.look, pictures.small, pictures.picture, pictures.save),
            *(pictures.exclude, pictures.turn),
            *(results.look_results, results.stop_run, results.change_back),
            *(runs.look_run, runs.ask_run),
            folder_lister(context),
        ],
        elem_id="kg-teach",
        facts=json.dumps(_facts(context), ensure_ascii=False),
    )


def _facts(context: Context) -> dict[str, Any]:
    goals = [
        {
            "name": goal.name,
            "title": context.text(f"teach.goal.{goal.name}"),
            "why": context.text(f"teach.goal.{goal.name}_why"),
            "kind": goal.words,
            "engine": goal.engine,
            "changeable": context.text(f"teach.changeable.{goal.name}"),
        }
        for goal in GOALS.values()
    ]
    return {
        "goals": goals,
        "steps": [[step, context.text(f"teach.step.{step}")] for step in STEPS],
        "cards": [
            [card, context.text(f"teach.card.{card}"), context.text(f"teach.card.{card}_why")]
            for card in CARDS
        ],
        "starter": starter_is_there(),
        "few": FEW,
    }


class TeachAnswers:
    """What the script asks about projects, pictures and words."""

    def __init__(self, desk: DatasetDesk) -> None:
        self._desk = desk
        self._context = desk.context
        self.text = desk.context.text
        self._projects = Projects(desk.context.workspace)
        self._workshop = Workshop(desk.context)

    @property
    def functions(self) -> list[Callable[[object], Any]]:
        """What the script may call."""
        return [
            self.teach_list,
            self.teach_begin,
            self.teach_open,
            self.teach_set,
            self.teach_forget,
            self.teach_folder,
            self.teach_upload,
            self.teach_word,
            self.teach_words,
            self.teach_caption,
        ]

    # ---- projects ----
    def row(self, project: Project) -> Answer:
        """Return a project for the page, with what follows from its answers."""
        goal = GOALS[project.goal]
        begun = bool(project.run or project.queued)
        open_steps = {
            "goal": True,
            "pictures": True,
            "words": bool(project.folder),
            "ready": bool(project.folder and project.trigger),
            "watch": begun,
            "pick": bool(project.run),
        }
        return {
            **project.model_dump(mode="json"),
            "goal_title": self.text(f"teach.goal.{project.goal}"),
            "step_title": self.text(f"teach.step.{project.step}"),
            "word": word_of(project, goal),
            "kind_shown": kind_of(project, goal),
            "engine": project.caption_engine or goal.engine,
            "starter": is_starter(project.model),
            "own": Path(project.folder).parent == self._context.workspace.path / "pictures",
            "open": [step for step in STEPS if open_steps[step]],
        }

    @in_words
    def teach_list(self, _: Mapping[str, Any]) -> Answer:
        """Return the projects, those changed last first."""
        return {"projects": [self.row(one) for one in self._projects.list()]}

    @in_words
    def teach_begin(self, data: Mapping[str, Any]) -> Answer:
        """Begin a project for a goal, or the trial with what ships with the program."""
        if data.get("starter") and starter_is_there():
            values = {
                "goal": "object",
                "name": "robot",
                "kind": "robot",
                "model": str(STARTER_MODEL),
                "folder": str(self._starter_pictures()),
                "card": "quick",
                "step": "pictures",
            }
            return {"project": self.row(self._projects.new(**values))}
        goal = str(data.get("goal"))
        if goal not in GOALS:
            raise UserError(self.text("teach.no_goal"))
        return {"project": self.row(self._projects.new(goal=goal, step="pictures"))}

    def _starter_pictures(self) -> Path:
        """Return a copy of the shipped pictures that may be worked on; a second trial shares it."""
        folder = upload_folder(self._context.workspace, "starter", "robot")
        for file in sorted((STARTER_PICTURES / "robot").iterdir()):
            if not (folder / file.name).exists():
                write_atomic(folder / file.name, file.read_bytes(), durable=False)
        return folder

    @in_words
    def teach_open(self, data: Mapping[str, Any]) -> Answer:
        """Return a project as it stands on the disk."""
        return {"project": self.row(self._project(data))}

    @changing
    def teach_set(self, data: Mapping[str, Any]) -> Answer:
        """Write answers down, unless somebody else has changed the project meanwhile."""
        project, given = self._project(data), data.get("values")
        values = {k: v for k, v in given.items() if k in ANSWERS} if isinstance(given, dict) else {}
        if str(values.get("goal") or project.goal) not in GOALS:
            raise UserError(self.text("teach.no_goal"))
        return {"project": self.row(self._change(project, data, values))}

    @in_words
    def teach_forget(self, data: Mapping[str, Any]) -> Answer:
        """Take a project off the list; pictures and runs stay."""
        self._projects.forget(str(data.get("project") or ""))
        return {}

    def _project(self, data: Mapping[str, Any]) -> Project:
        return asked_project(self._projects, data, self.text)

    def _change(
        self, project: Project, data: Mapping[str, Any], values: Mapping[str, object]
    ) -> Project:
        revision = data.get("revision")
        seen = revision if isinstance(revision, int) else None
        return self._projects.change(project.id, values, seen)

    # ---- pictures ----
    @changing
    def teach_folder(self, data: Mapping[str, Any]) -> Answer:
        """Take a folder of the server for the pictures. It is only read."""
        project = self._project(data)
        folder = self._desk.resolve(str(data.get("folder") or ""))
        remember_folder(self._context.workspace, folder)
        values = {"folder": str(folder), "name": project.name or folder.name}
        return {"project": self.row(self._change(project, data, values))}

    @changing
    def teach_upload(self, data: Mapping[str, Any]) -> Answer:
        """Take a piece of a file into the project's own folder; `done` once it is whole."""
        project = self._project(data)
        folder = upload_folder(self._context.workspace, project.id, project.name or project.goal)
        path = take_piece(folder, Piece.of(data))
        if path is None:
            return {"done": False}
        if project.folder != str(folder):
            values = {"folder": str(folder), "name": project.name or project.goal}
            project = self._change(project, data, values)
        return {"done": True, "project": self.row(project), "stem": path.stem}

    # ---- words ----
    @in_words
    def teach_word(self, data: Mapping[str, Any]) -> Answer:
        """Tell how the text encoder reads a word."""
        found = check_word(str(data.get("word") or ""))
        fields = {
            "word": found.word,
            "count": len(found.pieces),
            "pieces": " + ".join(found.pieces),
            "known": ", ".join(found.known),
        }
        return {
            "tone": found.tone,
            "text": self.text(f"teach.word.{found.verdict}", **fields),
            "pieces": list(found.pieces),
        }

    @in_words
    def teach_words(self, data: Mapping[str, Any]) -> Answer:
        """Return how the pictures and their captions stand, and a word to begin with.

        `again`: captions were changed since the last look.
        """
        project = self._project(data)
        look = self._workshop.look(project, again=bool(data.get("again")))
        if look.working:
            return {"working": True}
        problems = errors_among(look.insight.problems)
        mine = [one for one in problems if "train_data_dir" in (one.option or "")]
        if look.plan is None or (mine and not look.num_pictures):
            raise UserError.of(mine or problems)
        captions = [text for text in look.facts.captions if text.strip()]
        suggested = suggest_word(project.name, captions, project.id)
        return {
            "count": look.num_pictures,
            "captions": len(captions),
            "ending": look.facts.caption_extension,
            "suggested": suggested,
            "few": look.num_pictures < FEW,
            **self._trigger_words(project, look),
        }

    def _trigger_words(self, project: Project, look: Look) -> Answer:
        """Say what becomes of the new word in the captions."""
        holding = count_with(project.trigger, look.facts.captions)
        prefix = prefix_of(project, GOALS[project.goal], look.facts.captions)
        if not project.trigger:
            told = ""
        elif prefix is None:
            told = self.text("teach.word.in_all", word=project.trigger)
        else:
            key = "teach.word.in_some" if holding else "teach.word.in_none"
            told = self.text(key, word=project.trigger, prefix=prefix, count=holding)
        return {"holding": holding, "prefix": prefix or "", "told": told}

    @changing
    def teach_caption(self, data: Mapping[str, Any]) -> Answer:
        """Describe the pictures that have no caption yet, as a job."""
        project = self._project(data)
        if data.get("revision") not in (None, project.revision):
            raise ChangedError(project)  # before a job is begun that nobody would follow
        look = self._workshop.look(project)
        fixed: dict[str, object] = {
            "train_data_dir": project.folder,
            "caption_extension": look.facts.caption_extension,
            "recursive": True,
            "only_missing": True,
        }
        engine = project.caption_engine or GOALS[project.goal].engine
        tags, model = engine == "tags", project.caption_model.strip()
        if tags:
            fixed["remove_underscore"] = True
            fixed |= {"model_dir": model} if model else {"thresh": _SHIPPED_THRESHOLD}
        elif model:
            fixed["caption_weights"] = model
        job = TagImagesJob if tags else MakeCaptionsJob
        name = self.text("teach.caption_run", name=project.name or project.goal)
        begun = start_job(self._context, job, {}, fixed, name, "default")
        new = {"caption_run": begun.get("run", ""), "caption_queued": begun.get("queued", "")}
        project = self._change(project, data, new)
        return {**begun, "project": self.row(project)}


PAGE: Final = Page("teach", "nav.teach", _build)
