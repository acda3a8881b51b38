"""The captioning page: tags or sentences for a folder, tried on one picture before they start."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, ClassVar, Final

from kohya_gui.caption_results import CaptionResults
from kohya_gui.context import Context
from kohya_gui.forms.caption_live import CaptionLive
from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.preparation import prepare
from kohya_gui.pages.shell import Page, widget
from kohya_gui.pages.training import TrainingPage
from kohya_gui.reasons import told_line
from kohya_gui.thumbnails import Thumbnails
from sd_scripts.captioning.pictures import Picture
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import Job, MakeCaptionsJob, TagImagesJob
from sd_scripts.options.toml_file import job_to_toml
from sd_scripts.options.values import job_from_values

NUM_OFFERED: Final = 12
"""So many pictures of the folder are offered for a trial."""


class CaptioningPage(TrainingPage):
    """The form of a tagger or a captioner, with a trial beside it and the results below."""

    stays: ClassVar[bool] = True

    def __init__(self, context: Context, job_type: type[Job]) -> None:
        super().__init__(context, job_type)
        self._thumbnails = Thumbnails(context.thumbnails)
        self._live = CaptionLive(context.scans, context.workspace, context.text)

    def below_title(self) -> str:
        """Return the switch between the two engines."""
        engines = (
            ("tags", "captioning", TagImagesJob),
            ("sentences", "captioning-sentences", MakeCaptionsJob),
        )
        links = "".join(self._engine(*engine) for engine in engines)
        label = escape(self._text("captioning.engine"))
        return f'<nav class="kg-engines" aria-label="{label}">{links}</nav>'

    def build(self) -> None:
        """Place the form, and what it brings forth."""
        super().build()
        results = CaptionResults(self._context, self._job_type.name)
        widget(
            "captioning",
            server=[
                self._offered_pictures,
                self._start_trial,
                self._look_at_trial,
                *results.functions,
            ],
            elem_id="kg-captioning",
        )

    def _engine(self, key: str, page: str, job: type[Job]) -> str:
        current = ' aria-current="true"' if job is self._job_type else ""
        title, why = (escape(self._text(f"captioning.{name}")) for name in (key, f"{key}_why"))
        return (
            f'<a class="kg-engine" href="./{page}" data-engine="{job.name}"{current}>'
            f'<strong>{title}</strong><span class="kg-quiet kg-small">{why}</span></a>'
        )

    def _offered_pictures(self, request: object = None) -> list[dict[str, str | None]]:
        """Return the first pictures of the form's folder with small copies."""
        draft = self._desk.load(_given(request, "draft"))
        if draft is None:
            return []
        offered = []
        try:
            pictures = self._pictures(draft)
        except UserError:
            return []  # the form tells it when a trial is wanted
        for picture in pictures:
            small = self._thumbnails.make(picture.path)
            offered.append(
                {
                    "file": str(picture.path),
                    "name": picture.path.name,
                    "small": str(small) if small else None,
                }
            )
        return offered

    def _start_trial(self, request: object = None) -> dict[str, Any]:
        """Start the form's job on one picture of its folder, in a process of its own."""
        draft = self._desk.load(_given(request, "draft"))
        if draft is None:
            return {"problems": [self._text("captioning.no_form")]}
        wanted = _given(request, "file")
        try:
            pictures = {str(one.path): one.path for one in self._pictures(draft)}
        except UserError as error:
            return {"problems": [told_line(problem) for problem in error.problems]}
        picture: Path | None = pictures.get(wanted) or next(iter(pictures.values()), None)
        if picture is None:
            return {"problems": [self._text("captioning.no_picture")]}
        try:
            prepared = prepare(draft, self._context.workspace)
            job = job_from_values(self._job_type, prepared.values)
            trial = self._context.checks.start_trial(self._job_type.name, job_to_toml(job), picture)
        except UserError as error:
            return {"problems": [told_line(problem) for problem in error.problems]}
        return {"trial": trial, "name": picture.name, "small": str(self._small(picture) or "")}

    def _pictures(self, draft: Draft) -> list[Picture]:
        """Return the first pictures of a form's folder that the page may look into.

        Raises `UserError` when the folder itself is outside of that.
        """
        browser = self._context.browser()
        folder = prepare(draft, self._context.workspace).values.get("train_data_dir")
        if isinstance(folder, str) and folder:
            browser.resolve(folder)
        found = self._live.pictures(draft, NUM_OFFERED)
        return [one for one in found if browser.allowed(one.path) is not None]

    def _small(self, picture: Path) -> Path | None:
        return self._thumbnails.make(picture)

    def _look_at_trial(self, request: object = None) -> dict[str, Any]:
        """Return how a trial stands, with its result once it is there."""
        return self._context.checks.look(_given(request, "trial"))


def _given(request: object, name: str) -> str:
    return str(request.get(name) or "") if isinstance(request, Mapping) else ""


def _build_tags(context: Context) -> None:
    CaptioningPage(context, TagImagesJob).build()


def _build_sentences(context: Context) -> None:
    CaptioningPage(context, MakeCaptionsJob).build()


PAGE: Final = Page("captioning", "nav.captioning", _build_tags)
SENTENCES: Final = Page(
    "captioning-sentences",
    "nav.captioning",
    _build_sentences,
    in_navigation=False,
    part_of="captioning",
)
