"""What a captioning form means right now: model, pictures and everything wrong, as one types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.form import changed_names
from kohya_gui.forms.live import names_in, why_inert
from kohya_gui.forms.preparation import Prepared, prepare
from kohya_gui.forms.report import problem_row
from kohya_gui.forms.scans import Progress, Scan, Scans
from kohya_gui.locales import Texts
from kohya_gui.workspace import Workspace
from sd_scripts.captioning.captioner_folder import (
    KINDS,
    captioner_folder,
    captioner_problems,
    model_type,
)
from sd_scripts.captioning.labels import find_tagger, read_tags
from sd_scripts.captioning.pictures import Picture
from sd_scripts.captioning.plan import Plan, plan_folder
from sd_scripts.captioning.store import CaptionFiles
from sd_scripts.captioning.tagger_folder import missing_tagger, offline_problem, tagger_folder
from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import Problem, UserError, errors_among
from sd_scripts.options.groups.captioning import (
    CaptionerOptions,
    CaptionFileOptions,
    PictureFolderOptions,
    TaggerOptions,
)
from sd_scripts.options.schema import specs_by_name
from sd_scripts.options.values import Reading
from sd_scripts.runs.undo import UndoJournal

PICTURES: Final = "train_data_dir"
MAX_NAMES: Final = 12


@dataclass(frozen=True)
class FoundFolder:
    """The pictures of a folder, and how many of them have a caption file that says something."""

    plan: Plan
    num_with_text: int


@dataclass
class CaptionInsight:
    """All that is known of a captioning form now; of the pictures once they were looked at."""

    prepared: Prepared
    reading: Reading
    model_text: str = ""
    is_shipped: bool = False
    data: Scan | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def found(self) -> FoundFolder | None:
        """What is in the folder, once it was looked at."""
        found = self.data.found if self.data is not None and self.data.state == "done" else None
        return found if isinstance(found, FoundFolder) else None

    @property
    def errors(self) -> list[Problem]:
        """What must be mended before the job can run."""
        return errors_among(self.problems)


def _look_at_folder(
    folder: PictureFolderOptions, files: CaptionFileOptions, progress: Progress
) -> FoundFolder:
    plan = plan_folder(folder, files)
    store = CaptionFiles(UndoJournal(Path()))  # only asked, never written to
    with_text = 0
    for number, picture in enumerate(plan.pictures):
        if number % 100 == 0:
            progress("", number, len(plan.pictures))
        with_text += store.has_text(picture)
    return FoundFolder(plan, with_text)


class CaptionLive:
    """Looks at forms of taggers and captioners for the page; long looks go on in `scans`."""

    def __init__(self, scans: Scans, workspace: Workspace, text: Texts) -> None:
        self._scans = scans
        self._workspace = workspace
        self._text = text

    def look(self, draft: Draft) -> CaptionInsight:
        """Find out all that can be known of a form without waiting."""
        prepared = prepare(draft, self._workspace)
        reading = Reading(prepared.job_type, prepared.values)
        insight = CaptionInsight(prepared, reading)
        told = [*reading.problems, *self._look_at_model(insight), *self._look_at_pictures(insight)]
        insight.problems = list(dict.fromkeys(told))
        return insight

    def look_again(self, draft: Draft) -> None:
        """Read the folder anew."""
        self._scans.forget(_key(self.look(draft)))

    def pictures(self, draft: Draft, most: int) -> list[Picture]:
        """Return the first pictures of a form's folder; none until it was looked at."""
        found = self.look(draft).found
        return list(found.plan.pictures[:most]) if found else []

    def _look_at_model(self, insight: CaptionInsight) -> Iterable[Problem]:
        tagger = insight.reading.groups.get("tagger")
        captioner = insight.reading.groups.get("captioner")
        try:
            if isinstance(tagger, TaggerOptions):
                return self._look_at_tagger(insight, tagger)
            if isinstance(captioner, CaptionerOptions):
                return self._look_at_captioner(insight, captioner)
        except (OSError, ValueError) as error:
            return [Problem(f"The model's folder cannot be read: {error}")]
        return ()

    def _look_at_tagger(self, insight: CaptionInsight, options: TaggerOptions) -> Iterable[Problem]:
        folder = tagger_folder(options)
        files = find_tagger(folder)
        insight.is_shipped = options.model_dir is None and options.repo_id is None
        if options.force_download:
            problem = offline_problem(options)
            return [] if problem is None else [problem]
        if files is None:
            return [missing_tagger(folder, options)]
        try:
            tags = read_tags(files.tag_list)
        except UserError as error:
            return error.problems
        insight.model_text = self._model_text(
            insight, self._text("captioning.tagger", count=len(tags.labels)), folder
        )
        return ()

    def _look_at_captioner(
        self, insight: CaptionInsight, options: CaptionerOptions
    ) -> Iterable[Problem]:
        problems = captioner_problems(options)
        insight.is_shipped = options.caption_weights is None
        if not errors_among(problems):
            folder = captioner_folder(options)
            insight.model_text = self._model_text(insight, KINDS[model_type(folder)].title, folder)
        return problems

    def _model_text(self, insight: CaptionInsight, kind: str, folder: Path) -> str:
        if insight.is_shipped:
            return self._text("captioning.shipped", kind=kind)
        return self._text("captioning.chosen", kind=kind, folder=shown(folder))

    def _look_at_pictures(self, insight: CaptionInsight) -> Iterable[Problem]:
        folder = insight.reading.groups.get("pictures")
        files = insight.reading.groups.get("files")
        if not insight.prepared.values.get(PICTURES):
            return ()
        if not isinstance(folder, PictureFolderOptions) or not isinstance(
            files, CaptionFileOptions
        ):
            return ()
        if not folder.train_data_dir:  # what stands there is no path, which is told already
            return ()
        insight.data = self._scans.look(
            _key(insight), lambda progress: _look_at_folder(folder, files, progress)
        )
        if insight.data.state == "failed":
            return insight.data.problems
        return insight.found.plan.problems if insight.found else ()

    # ---- for the page's script ----
    def report(self, draft: Draft) -> dict[str, Any]:
        """Return everything the page shows about a form, as plain data for its script."""
        insight = self.look(draft)
        raw = insight.prepared.raw
        changed = list(changed_names(insight.prepared.job_type, raw))
        return {
            "working": insight.data is not None and insight.data.state == "working",
            "changed": changed,
            "inert": self._inert(insight),
            "problems": [
                problem_row(problem, raw, touched=bool(changed)) for problem in insight.problems
            ],
            "family": {
                "state": "done" if insight.model_text else "none",
                "text": insight.model_text,
                "family": None,
                "good": True,
            },
            "data": self._data(insight),
            "steps": {"state": "none"},
            "checklist": self._checklist(insight),
            "next": self._next(insight),
            "name": insight.prepared.name,
        }

    def _inert(self, insight: CaptionInsight) -> dict[str, str]:
        values = {name: value for group in insight.reading.groups.values() for name, value in group}
        specs = specs_by_name(insight.prepared.job_type)
        found = {
            name: why_inert(self._text, spec.applies, values, specs) for name, spec in specs.items()
        }
        return {name: reason for name, reason in found.items() if reason}

    def _data(self, insight: CaptionInsight) -> dict[str, Any]:
        scan = insight.data
        if scan is None:
            return {"state": "none"}
        if scan.state == "working":
            text = self._text("captioning.reading")
            return {"state": "working", "text": text, "done": scan.done, "total": scan.total}
        found = insight.found
        if found is None:
            return {"state": "failed"}
        number = len(found.plan.pictures)
        fields = {"count": number, "captions": found.num_with_text}
        key = "captioning.headline" if number else "data.none"
        return {
            "state": "done",
            "headline": self._text(key, **fields) if number else self._text(key),
            "num_images": number,
            "folders": [],
            "buckets": [],
            "more_buckets": 0,
            "missing": [],
            "num_missing": 0,
            "skipped": [],
            "num_skipped": 0,
            "num_enlarged": 0,
            "cropped": 0,
            "most_cropped": None,
            "notes": [self._becomes(insight, found)] if number else [],
        }

    def _becomes(self, insight: CaptionInsight, found: FoundFolder) -> str:
        """Say what becomes of the captions that are there."""
        files = found.plan.files
        adds = {"append_tags", "append_captions"} & {
            name for name, value in insight.prepared.values.items() if value is True
        }
        if files.output_path:
            return self._text("captioning.one_file", file=files.output_path)
        if not found.num_with_text:
            return self._text("captioning.all_new", ending=files.caption_extension)
        key = "keeps" if files.only_missing else "adds" if adds else "replaces"
        return self._text(f"captioning.{key}", count=found.num_with_text)

    def _checklist(self, insight: CaptionInsight) -> list[dict[str, str]]:
        bad = {name for problem in insight.errors for name in names_in(problem)}
        found = insight.found
        number = len(found.plan.pictures) if found else 0
        model = "model_dir" if "tagger" in insight.reading.groups else "caption_weights"

        def row(key: str, option: str, *, done: bool, text: str = "") -> dict[str, str]:
            state = "bad" if option in bad else "done" if done else "todo"
            name = self._text(f"captioning.side_{key}")
            return {"state": state, "name": name, "text": text, "option": option}

        return [
            row("pictures", PICTURES, done=number > 0, text=str(number) if number else ""),
            row("model", model, done=bool(insight.model_text)),
            row("files", "caption_extension", done="files" in insight.reading.groups),
        ]

    def _next(self, insight: CaptionInsight) -> dict[str, str | None]:
        """Return the one thing to do next: a sentence and the option to go to."""
        if not insight.prepared.values.get(PICTURES):
            return self._step("pictures", PICTURES)
        if errors := insight.errors:
            names = names_in(errors[0])
            return self._step("mend", names[0] if names else None, count=len(errors))
        if insight.found is None:
            return self._step("wait", None)
        return self._step("start", None)

    def _step(self, key: str, option: str | None, **fields: object) -> dict[str, str | None]:
        text = self._text("next.mend", **fields) if key == "mend" else None
        return {"key": key, "text": text or self._text(f"captioning.next_{key}"), "option": option}


def _key(insight: CaptionInsight) -> tuple[object, ...]:
    groups = insight.reading.groups
    return ("caption pictures", repr(groups.get("pictures")), repr(groups.get("files")))
