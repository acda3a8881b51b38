"""What can be done with a form: open, alter, show, save, check and start it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.forms import preset_words
from kohya_gui.forms.beginnings import Beginnings, Opened
from kohya_gui.forms.caption_live import CaptionLive
from kohya_gui.forms.drafts import SWEEP, Draft, lists_of
from kohya_gui.forms.form import default_raw, only_changed
from kohya_gui.forms.live import Live
from kohya_gui.forms.openings import Opening, tell_import, why_not
from kohya_gui.forms.own_presets import Action, PresetDesk
from kohya_gui.forms.preparation import (
    Prepared,
    draft_of_file,
    draft_of_report,
    draft_of_toml,
    full_raw,
    prepare,
)
from kohya_gui.forms.presets import Preset, apply_preset, presets_of
from kohya_gui.forms.report import problem_row
from kohya_gui.forms.starter import starter_draft, starter_is_there
from kohya_gui.forms.sweep import SweepDesk
from kohya_gui.forms.toml_pane import TomlPane, with_toml
from kohya_gui.jobs.launch import JobRequest, commands_text
from kohya_gui.jobs.processes import Processes
from kohya_gui.jobs.queue import Queued, Refused, Submitted
from kohya_gui.locales.speaking import told
from kohya_gui.reasons import failure, reason
from kohya_gui.settings import keep_page_defaults
from sd_scripts.errors import Problem, UserError
from sd_scripts.files import write_atomic
from sd_scripts.options.jobs import Job, TrainingJob, WholeModelJob
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values
from sd_scripts.runs.folder import RunFolder, safe_name

OF_ONE_JOB: Final = frozenset(
    (
        *("train_data_dir", "reg_data_dir", "in_json", "dataset_config", "picture_decisions"),
        *("conditioning_data_dir", "class_data_dir", "class_prompt", "mask_dir", "output_path"),
        *("output_name", "token_string", "init_word", "resume", "network_weights", "weights"),
    )
)
"""What belongs to one job alone: a new form never begins with it."""


class Desk:
    """Works on drafts of one kind of job for any number of pages at once."""

    def __init__(self, context: Context, job_type: type[Job]) -> None:
        self._context = context
        self._text = context.text
        self.job_type = job_type
        self._beginnings = Beginnings(context, job_type)
        self.own_presets = PresetDesk(context, job_type)
        self.toml = TomlPane(context, job_type)
        self.sweep = SweepDesk(context, job_type)
        kind = Live if issubclass(job_type, TrainingJob) else CaptionLive
        self.live: Live | CaptionLive = kind(context.scans, context.workspace, context.text)
        self._actions: dict[str, Action] = {
            "show": self._show,
            "check": self._check,
            "start": self._start,
            "queue": self._queue,
            "requeue": self._requeue,
            "save": self._save,
            "sweep": lambda draft, data: self.sweep.start(draft, self._request),
            "begin_with": lambda draft, data: self._begin_with(draft),
            "begin_plain": lambda draft, data: self._begin_with(None),
            "import": self._tell_import,
            **self.own_presets.actions,
        }
        self.presets: dict[str, Preset] = {preset.id: preset for preset in presets_of(job_type)}

    # ---- drafts ----
    def begin(self, request: Mapping[str, object]) -> Opened:
        """Return the draft for a page that was just opened.

        `draft` is the tab's own (after a reload), `last` the newest of this browser: a new tab
        begins with a copy of it. `folder` is one of pictures that it then begins with. `from` names
        a run whose settings are wanted: `resume` goes on from one of its states, `fork` begins
        anew with one of its files, `remedy` changes what made it fail. `queued` names a waiting
        job that is to be changed. `starter` asks for the job on what ships with the program.
        """
        if request.get("starter") and starter_is_there():
            notice = self._text("form.from_starter")
            return Opened(self._context.drafts.new_id(), starter_draft(), notice)
        run_id = str(request.get("from") or "")
        if run_id:
            return self._beginnings.with_run(run_id, request)
        if queued := str(request.get("queued") or ""):
            return self._beginnings.with_job(queued)
        own = "" if request.get("folder") else str(request.get("draft") or "")
        if (draft := self._context.drafts.load(own, self.job_type.name)) is not None:
            return Opened(own, draft)
        last = self._context.drafts.load(str(request.get("last") or ""), self.job_type.name)
        begun = replace(last, about={}) if last else self.first()
        if folder := str(request.get("folder") or ""):
            begun = self._set({"values": {"train_data_dir": folder}}, begun)
        return Opened(self._context.drafts.new_id(), begun)

    def first(self) -> Draft:
        """Return what a new form begins with: the user's own values, if any were kept for that."""
        own = self._context.settings().page_defaults.get(self.job_type.name, {})
        known = default_raw(self.job_type)
        return Draft(self.job_type.name, {k: v for k, v in own.items() if k in known})

    @property
    def begins_own(self) -> bool:
        """Tell whether new forms begin with values of the user's own."""
        return bool(self._context.settings().page_defaults.get(self.job_type.name))

    def _begin_with(self, draft: Draft | None) -> dict[str, Any]:
        """Let new forms begin with this one from now on, or (None) with the defaults again."""
        own = {}
        if draft is not None:
            own = {k: v for k, v in draft.values.items() if k not in OF_ONE_JOB}
        keep_page_defaults(self._context.workspace, self.job_type.name, own)
        key = "form.begins_plain" if draft is None else "form.begins_own"
        return {"state": "said", "text": self._text(key)}

    def draft_of(self, raw: Mapping[str, object], prompts: object) -> Draft:
        """Return what stands in a form as a draft."""
        typed = prompts if isinstance(prompts, str) else ""
        return Draft(self.job_type.name, only_changed(self.job_type, raw), typed)

    def keep(self, draft_id: str, draft: Draft) -> str | None:
        """Write a draft down; return why that failed, if it did."""
        try:
            self._context.drafts.save(draft_id, draft)
        except OSError as error:
            return self._text("form.not_kept", reason=reason(error))
        return None

    def load(self, draft_id: str) -> Draft | None:
        """Return a draft by its id."""
        return self._context.drafts.load(draft_id, self.job_type.name)

    def waiting_name(self, draft_id: str) -> str | None:
        """Return the name of the waiting job that a draft changes, or None if it is a new one."""
        about = draft.about if (draft := self.load(draft_id)) else {}
        return str(about.get("name") or "") if about.get("queued") else None

    # ---- changes to the whole form ----
    def alter(
        self, what: str, data: Mapping[str, object], draft: Draft
    ) -> tuple[Draft, str, tuple[Problem, ...]]:
        """Return the draft after a change, a word about it, and what could not be taken over.

        Raises `UserError` when the change cannot be made; the form then stays as it is.
        """
        match what:
            case "set":
                return self._set(data, draft), "", ()
            case "reset":
                values = {k: v for k, v in draft.values.items() if k != data.get("option")}
                return replace(draft, values=values), "", ()
            case "sweep":
                return (
                    replace(draft, about={**draft.about, SWEEP: lists_of(data.get("lists"))}),
                    "",
                    (),
                )
            case "clear":
                key = "form.cleared_to_own" if self.begins_own else "form.cleared"
                return self.first(), self._text(key), ()
            case "toml":
                new, problems = with_toml(draft, str(data.get("text")), self._context.workspace)
                return new, "", problems
            case "preset":
                preset = self._preset(str(data.get("preset")))
                title = preset_words.title(preset, self.job_type.name, self._text)
                notice = self._text("form.preset_applied", title=title)
                return apply_preset(preset, draft), notice, ()
            case "open_text" | "open_file":
                return self._open(Opening.of(data, self._context.browser()))
            case "revert":
                before = self.load(str(data.get("draft") or ""))
                return before or draft, self._text("form.reverted"), ()
        raise UserError(self._text("calls.not_understood"))

    def all_presets(self) -> tuple[Preset, ...]:
        """Return the presets that ship, and the user's own."""
        return (*self.presets.values(), *self.own_presets.own.list())

    def _preset(self, preset_id: str) -> Preset:
        found = self.presets.get(preset_id) or self.own_presets.own.find(preset_id)
        if found is None:
            raise UserError(self._text("presets.gone"))
        return found

    def _open(self, opening: Opening) -> tuple[Draft, str, tuple[Problem, ...]]:
        """Return the draft that a file makes: a job's own, or somebody's old settings."""
        notice = self._text("form.opened", source=opening.source)
        report = opening.report()
        if report is not None:
            if report.job_type is not self.job_type:
                raise UserError.of(Problem(words) for words in why_not(report, self._text))
            return draft_of_report(self.job_type, report), notice, ()
        workspace = self._context.workspace
        if opening.path is not None:
            found, problems = draft_of_file(self.job_type, opening.path, workspace)
        else:
            found, problems = draft_of_toml(self.job_type, opening.text, workspace, opening.source)
        return found, notice, problems

    def _set(self, data: Mapping[str, object], draft: Draft) -> Draft:
        """Put values into single options, as the file chooser and suggestions do."""
        wanted = data.get("values")
        known = default_raw(self.job_type)
        new = {k: v for k, v in wanted.items() if k in known} if isinstance(wanted, dict) else {}
        raw = {**full_raw(draft), **new}
        return replace(draft, values=only_changed(self.job_type, raw))

    # ---- what is done with a form ----
    def act(self, what: str, data: Mapping[str, object], draft: Draft) -> dict[str, Any]:
        """Do something with the form and return what the page shows of it."""
        try:
            if (action := self._actions.get(what)) is None:
                raise UserError(self._text("calls.not_understood"))
            return action(draft, data)
        except UserError as error:
            raw = full_raw(draft)
            return {
                "state": "problems",
                "problems": [problem_row(problem, raw) for problem in error.problems],
            }
        except OSError as error:
            return {"state": "failed", "text": failure(error)}

    def _job(self, draft: Draft) -> tuple[Prepared, Job]:
        """Return the job of a draft. Raises `UserError` with everything wrong with its values."""
        prepared = prepare(draft, self._context.workspace)
        if prepared.problems:
            raise UserError.of(prepared.problems)
        return prepared, job_from_values(self.job_type, prepared.values)

    def _tell_import(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        opening = Opening.of(data, self._context.browser())
        return tell_import(opening, self.job_type, self._text)

    @property
    def _processes(self) -> Processes:
        """Where a training runs; other jobs work in one process."""
        if not issubclass(self.job_type, TrainingJob):
            return Processes()
        chosen = self._context.settings().processes
        return chosen if issubclass(self.job_type, WholeModelJob) else chosen.sharing_nothing()

    @property
    def can_start(self) -> bool:
        """Tell whether a device is free for a job of this kind."""
        name = self.job_type.name
        empty = JobRequest(job_name=name, config_toml="", name=name, processes=self._processes)
        return self._context.queue.is_free(empty)

    def _show(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        prepared, job = self._job(draft)
        example = f"{safe_name(prepared.name)}-{time.strftime('%Y%m%d-%H%M%S')}"
        run = RunFolder(self._context.workspace.runs / example)
        return {
            "state": "shown",
            "changed": job_to_toml(job, only_changed=True),
            "all": job_to_toml(job),
            "command": commands_text(self.job_type.name, run, self._processes),
            "file": f"{safe_name(prepared.name)}.toml",
            "prompts": prepared.prompt_text,
        }

    def _save(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        prepared, job = self._job(draft)
        folder = self._context.workspace.path / "configs"
        path = folder / f"{safe_name(str(data.get('name') or prepared.name))}.toml"
        if path.exists() and not data.get("replace"):
            return {"state": "exists", "file": str(path), "name": path.stem}
        folder.mkdir(parents=True, exist_ok=True)
        prepared.write_prompts()
        lists = self.toml.whole(draft) if draft.lists else None
        write_atomic(path, lists or job_to_toml(job, only_changed=True))
        return {"state": "saved", "file": str(path)}

    def _check(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        prepared, job = self._job(draft)
        prepared.write_prompts()
        check = self._context.checks.start(self.job_type.name, job_to_toml(job))
        return {"state": "checking", "check": check}

    def _request(self, draft: Draft) -> JobRequest:
        """Return what is started for a draft. Raises `UserError` with everything wrong with it."""
        insight = self.live.look(draft)
        if insight.errors:
            raise UserError.of(insight.errors)
        prepared, job = self._job(draft)
        prepared.write_prompts()
        return JobRequest(
            job_name=self.job_type.name,
            config_toml=job_to_toml(job),
            name=prepared.name,
            parent=draft.about.get("parent") or None,
            allow_hub=self._context.settings().allow_hub,
            processes=self._processes,
        )

    def _start(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        request = self._request(draft)
        match self._context.queue.submit(request, self._context.settings().when_busy):
            case Submitted(run=run, text=text):
                return {"state": "started", "run": run.id, "text": told(text)}
            case Queued(id=queue_id, text=text):
                return {"state": "queued", "text": told(text), "queued": queue_id}
            case Refused(text=text, running=running):
                return {"state": "refused", "text": told(text), "running": list(running)}
        raise AssertionError("submit knows three answers")

    def _queue(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        """Put the job at the end of the queue, and let the form stay for the next one."""
        request = self._request(draft)
        (job,) = self._context.queue.add([request])
        place = len([job for job in self._context.queue.items() if job.problem is None])
        return {
            "state": "queued",
            "queued": job.id,
            "text": self._text("form.queued", name=request.name, place=place),
        }

    def _requeue(self, draft: Draft, data: Mapping[str, object]) -> dict[str, Any]:
        """Give the waiting job that was opened here what stands in the form now."""
        request = self._request(draft)
        job_id, version = str(draft.about.get("queued")), int(draft.about.get("version") or 0)
        before = self._context.queue.find(job_id)
        if before is not None:  # what the form does not show stays as it was
            kept = before.request
            same = {"env": kept.env, "device": kept.device, "tags": kept.tags}
            request = request.model_copy(update=same)
        answer = self._context.queue.replace(job_id, request, version)
        if answer == "saved":
            return {"state": "requeued"}
        key = "queue.started_meanwhile" if answer == "gone" else "queue.changed_meanwhile"
        return {"state": "not_requeued", "text": self._text(key, name=request.name)}
