"""The page of a training job: built from the schema, tied to the desk by a few events."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any, ClassVar

from kohya_gui.context import Context
from kohya_gui.forms.desk import Desk
from kohya_gui.forms.drafts import SWEEP, Draft
from kohya_gui.forms.form import JobForm, default_raw
from kohya_gui.forms.layout import Section, Step, first_steps, sections
from kohya_gui.forms.own_presets import preset_row
from kohya_gui.forms.preparation import full_raw
from kohya_gui.forms.report import problem_row
from kohya_gui.forms.tabs import WRITER, Place, Tab, of_tab, place_of
from kohya_gui.forms.widgets import script_facts
from kohya_gui.pages.folders import folder_lister
from kohya_gui.pages.shell import told_by, widget
from kohya_gui.quick_gradio import gr
from kohya_gui.reasons import failure
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import Job, TrainingJob


def build_training_page(context: Context, job_type: type[Job]) -> None:
    """Build the whole page of a job; called within its route."""
    TrainingPage(context, job_type).build()


class TrainingPage:
    """Layout and events of one training page. Values live in the browser and in drafts on disk."""

    stays: ClassVar[bool] = False
    """Whether a start shows what comes of it in this page, not in the page of runs."""

    def __init__(self, context: Context, job_type: type[Job]) -> None:
        self._context = context
        self._text = context.text
        self._desk = Desk(context, job_type)
        self._form = JobForm(job_type, context.text)
        self._job_type = job_type

    # ---- layout ----
    def build(self) -> None:
        """Place all components and listen to them."""
        job, text = self._job_type.name, self._text
        self._html(
            f'<h1 class="kg-page-title">{escape(text(f"job.{job}.title"))}</h1>'
            f'<p class="kg-lead">{escape(text(f"job.{job}.lead"))}</p>'
            f'{self.below_title()}<div data-slot="bar"></div><div data-slot="notice"></div>'
        )
        with gr.Row(elem_classes=["kg-desk"]):
            with gr.Column(scale=3, min_width=300, elem_classes=["kg-desk-form"]):
                for number, step in enumerate(first_steps(self._job_type), 1):
                    self._step(number, step)
                self._html('<div data-slot="filter"></div>')
                for section in sections(self._job_type):
                    self._section(section)
                if self._desk.sweep.is_offered:
                    self._html('<div class="kg-card" data-slot="sweep"></div>')
                self._html('<div class="kg-card" data-slot="toml"></div>')
            with gr.Column(scale=1, min_width=280, elem_classes=["kg-desk-side"]):
                self._html('<aside class="kg-card" data-slot="side"></aside>')
        self._html('<div class="kg-action-bar" data-slot="actions"></div>', "kg-actions")
        self._draft_id = gr.Textbox(visible="hidden", elem_id="kg-draft")
        if not any(step.prompts for step in first_steps(self._job_type)):
            self._prompts = gr.Textbox(visible="hidden", elem_id="kg-no-prompts")
        self._bridge = self._make_bridge()
        self._listen()

    def below_title(self) -> str:
        """Return markup that stands between the title and the bar."""
        return ""

    @staticmethod
    def _html(markup: str, elem_id: str | None = None) -> None:
        gr.HTML(markup, apply_default_css=False, js_on_load=None, elem_id=elem_id)

    def _step(self, number: int, step: Step) -> None:
        text, job = self._text, self._job_type.name
        title, why = text(f"job.{job}.{step.key}"), text(f"job.{job}.{step.key}_why")
        with gr.Column(elem_classes=["kg-card", "kg-group", "kg-step"], elem_id=f"step-{step.key}"):
            self._html(
                f'<h2 class="kg-h"><span class="kg-step-number" aria-hidden="true">{number}</span>'
                f'{escape(title)}</h2><p class="kg-quiet kg-why">{escape(why)}</p>'
            )
            for name in step.options:
                self._form.place(name)
            if step.prompts:
                self._prompts = gr.Textbox(
                    label=text("form.prompts"),
                    info=text("form.prompts_info"),
                    placeholder=text("form.prompts_example"),
                    lines=3,
                    max_lines=12,
                    elem_id="extra-prompts",
                    elem_classes=["kg-option", "kg-wide"],
                    interactive=True,
                )
            if step.slot:
                self._html(f'<div data-slot="{step.slot}" aria-live="polite"></div>')

    def _section(self, section: Section) -> None:
        title = self._text.optional(f"group.{section.group}", section.title)
        with gr.Column(elem_classes=["kg-card", "kg-group"], elem_id=f"group-{section.group}"):
            self._html(
                f'<div class="kg-row kg-between"><h2 class="kg-h">{escape(title)}</h2>'
                f'<span data-more="{section.group}"></span></div>'
            )
            for spec in section.options:
                self._form.place(spec.name, later=spec.tier != "basic")
            if section.group == "optimizer":
                self._html('<div data-slot="course"></div>')

    def _make_bridge(self) -> gr.HTML:
        own = ["course", "sweep"] if issubclass(self._job_type, TrainingJob) else []
        facts = {
            "options": {
                spec.name: script_facts(spec, self._text) for spec in self._form.specs.values()
            },
            "presets": [
                preset_row(preset, self._job_type.name, self._text)
                for preset in self._desk.presets.values()
            ],
            "configs": str(self._context.workspace.path / "configs"),
            "tier": self._context.settings().tier,
            "slots": [*(step.slot for step in first_steps(self._job_type) if step.slot), *own],
            "stays": self.stays,
            "sweep": self._desk.sweep.options(),
            "later": list(self._form.later),
        }
        return widget(
            "form",
            value="",
            server=[
                self._look_form,
                self._look_again,
                self._look_at_check,
                self._cancel_check,
                self._look_toml,
                self._whole_toml,
                self._look_sweep,
                folder_lister(self._context),
            ],
            events=["act", "alter", "later"],
            elem_id="kg-bridge",
            facts=json.dumps(facts, ensure_ascii=False),
        )

    # ---- events ----
    def _listen(self) -> None:
        form = [self._draft_id, self._prompts, *self._form.components]
        everything = [self._bridge, *form]
        quick: dict[str, Any] = {
            "queue": False,
            "preprocess": False,
            "show_progress": "hidden",
            # Else Gradio tells each of some 200 components that an event began, and that it ended.
            "show_progress_on": self._bridge,
            "api_visibility": "private",
        }
        # Not `input`: Gradio's text box fires that at key presses only, so not for what is pasted,
        # cut, deleted or composed.
        gr.on(
            [component.change for component in (self._prompts, *self._form.components)],
            self._on_edit,
            form,
            [self._bridge],
            trigger_mode="always_last",
            **quick,
        )
        self._bridge.alter(self._on_alter, form, everything, trigger_mode="multiple", **quick)
        self._bridge.act(self._on_act, form, [self._bridge], trigger_mode="multiple", **quick)
        later = list(self._form.later.values())
        self._bridge.later(None, None, later, js="() => window.KG.nextFields()", **quick)
        blocks = gr.context.Context.root_block
        assert isinstance(blocks, gr.Blocks), "a page is built within its application"
        # The script knows which draft this tab had; its answer stands in for the hidden field.
        ask = "async () => { while (!window.KG || !KG.draftWish) await new Promise("
        ask += "go => setTimeout(go, 10)); return [KG.draftWish()]; }"
        blocks.load(self._on_open, [self._draft_id], everything, js=ask, **quick)

    def _on_open(self, wish: str) -> list[Any]:
        """Fill the form for a page that was just opened or reloaded."""
        try:
            request = json.loads(wish)
        except (TypeError, ValueError):
            request = {}
        opened = self._desk.begin(request if isinstance(request, dict) else {})
        # From now on the draft is this tab's; one that had it before goes on with a copy.
        tab = Tab(opened.draft_id, self._context.drafts.new_id())
        own = replace(opened.draft, about={**opened.draft.about, WRITER: tab.writer})
        told = self._keep(own, Place(opened.draft_id, {}))
        answer = self._answer(opened.draft_id, opened.draft, opened=True)
        answer["own"] = self._desk.own_presets.rows()
        raw = full_raw(opened.draft)
        answer["notice"] = {
            "text": opened.notice or "",
            **(told or {}),
            "problems": [problem_row(problem, raw) for problem in opened.problems],
        }
        return self._filled(answer, tab.mark, opened.draft, default_raw(self._job_type), "")

    def _on_edit(self, mark: str, prompts: str | None, *raw: object) -> str:
        place = place_of(self._context.drafts, Tab.of(mark), self._job_type.name)
        draft = self._desk.draft_of(self._form.collect(raw), prompts or "")
        told = self._keep(draft, place)
        answer = self._answer(place.draft_id, draft)
        if told:
            answer["notice"] = told
        return json.dumps(answer, ensure_ascii=False)

    def _keep(self, draft: Draft, place: Place) -> dict[str, Any] | None:
        """Write a tab's draft down; return what has to be told about that, if anything."""
        why_not = self._desk.keep(place.draft_id, of_tab(draft, place))
        if why_not is not None:
            return {"text": why_not, "problems": [], "bad": True, "until_kept": True}
        if place.parted:
            return {"text": self._text("form.parted"), "problems": [], "bad": True}
        return None

    def _on_alter(
        self, event: gr.EventData, mark: str, prompts: str | None, *raw: object
    ) -> list[Any]:
        place = place_of(self._context.drafts, Tab.of(mark), self._job_type.name)
        draft_id = place.draft_id
        present = self._form.collect(raw)
        draft = self._desk.draft_of(present, prompts or "")
        kept = self._desk.load(draft_id)
        draft = replace(draft, about={SWEEP: kept.lists if kept else {}})
        data = told_by(event)
        what = str(data.get("what"))
        try:
            new, notice, problems = self._desk.alter(what, data, draft)
        except UserError as error:
            answer = self._answer(draft_id, draft)
            rows = [problem_row(problem, present) for problem in error.problems]
            if what == "toml":  # told where the text is being typed
                answer["toml"] = rows
                return self._filled(answer, mark, draft, present, prompts or "")
            answer["notice"] = {"text": "", "problems": rows, "bad": True}
            return self._filled(answer, mark, draft, present, prompts or "")
        new = replace(new, about={SWEEP: {}, **new.about})  # lists that are gone are gone
        told = self._keep(new, place)
        answer = self._answer(draft_id, new)
        if what == "toml":
            answer["toml"] = [problem_row(problem, full_raw(new)) for problem in problems]
        elif notice or problems or told:
            undo = self._context.drafts.new_id()
            self._desk.keep(undo, draft)
            rows = [problem_row(problem, full_raw(new)) for problem in problems]
            answer["notice"] = {"text": notice, **(told or {}), "problems": rows, "undo": undo}
        return self._filled(answer, mark, new, present, prompts or "")

    def _on_act(self, event: gr.EventData, mark: str, prompts: str | None, *raw: object) -> str:
        place = place_of(self._context.drafts, Tab.of(mark), self._job_type.name)
        draft_id = place.draft_id
        draft = self._desk.draft_of(self._form.collect(raw), prompts or "")
        told = self._keep(draft, place)
        draft = self._desk.load(draft_id) or draft  # with what it is about
        data = told_by(event)
        what = str(data.get("what"))
        result = {"what": what, **self._desk.act(what, data, draft)}
        if result["state"] in ("requeued", "not_requeued"):
            self._desk.keep(draft_id, replace(draft, about={"queued": ""}))
        answer = self._answer(draft_id, draft)
        answer["result"] = result
        if told:
            answer["notice"] = told
        return json.dumps(answer, ensure_ascii=False)

    def _answer(self, draft_id: str, draft: Draft, *, opened: bool = False) -> dict[str, Any]:
        return {
            "serial": time.time_ns(),
            "draft": draft_id,
            "opened": opened,
            "report": self._desk.live.report(draft),
            "busy": self._busy(),
            "queued": self._desk.waiting_name(draft_id),
            "begins_own": self._desk.begins_own,
            "sweep": kept.lists if (kept := self._desk.load(draft_id)) else {},
        }

    def _busy(self) -> dict[str, str] | None:
        running = self._context.store.running()
        if not running or self._desk.can_start:
            return None
        queues = self._context.settings().when_busy == "queue"
        key = "form.busy_queue" if queues else "form.busy_refuse"
        return {
            "run": running[0].id,
            "mode": "queue" if queues else "refuse",
            "text": self._text(key, name=running[0].name),
        }

    def _filled(
        self,
        answer: dict[str, Any],
        mark: str,
        draft: Draft,
        present: Mapping[str, object],
        prompts: str,
    ) -> list[Any]:
        """Return updates of all outputs: script's data, the tab's mark, prompts, options."""
        typed = gr.skip() if draft.prompts == prompts else draft.prompts
        updates = self._form.fill(full_raw(draft), present)
        return [json.dumps(answer, ensure_ascii=False), mark, typed, *updates]

    # ---- called by the script between events ----
    def _look_form(self, request: object = None) -> dict[str, Any] | None:
        """Report on a draft again, while a look at its files goes on."""
        draft_id = str(request.get("draft")) if isinstance(request, Mapping) else ""
        draft = self._desk.load(draft_id)
        return None if draft is None else self._answer(draft_id, draft)

    def _look_again(self, request: object = None) -> dict[str, Any] | None:
        """Read the folders of a draft anew."""
        draft_id = str(request.get("draft")) if isinstance(request, Mapping) else ""
        draft = self._desk.load(draft_id)
        if draft is None:
            return None
        self._desk.live.look_again(draft)
        return self._answer(draft_id, draft)

    def _look_toml(self, request: object = None) -> dict[str, Any] | None:
        """Return a draft as TOML, how it differs from something else, and what there is to choose
        from for that."""
        asked = request if isinstance(request, Mapping) else {}
        draft = self._desk.load(str(asked.get("draft")))
        if draft is None:
            return None
        began = f"preset:{draft.about['preset']}" if draft.about.get("preset") else ""
        wanted = asked.get("against")
        against = began if wanted is None else str(wanted)
        found = self._desk.toml.look(draft, against, self._desk.all_presets())
        return {**found, "against": against, "began": began, "runs": self._desk.toml.runs()}

    def _whole_toml(self, request: object = None) -> dict[str, str] | None:
        """Return a draft as a TOML file that stands for itself."""
        asked = request if isinstance(request, Mapping) else {}
        draft = self._desk.load(str(asked.get("draft")))
        if draft is None:
            return None
        try:
            return {"text": self._desk.toml.whole(draft)}
        except OSError as error:
            return {"problem": failure(error)}

    def _look_sweep(self, request: object = None) -> dict[str, Any] | None:
        """Return the runs that the lists of values in a draft make."""
        asked = request if isinstance(request, Mapping) else {}
        draft = self._desk.load(str(asked.get("draft")))
        return None if draft is None else self._desk.sweep.look(draft)

    def _look_at_check(self, request: object = None) -> dict[str, Any]:
        """Return how a check stands."""
        check = str(request.get("check")) if isinstance(request, Mapping) else ""
        return self._context.checks.look(check)

    def _cancel_check(self, request: object = None) -> None:
        """End a check."""
        if isinstance(request, Mapping):
            self._context.checks.cancel(str(request.get("check")))
