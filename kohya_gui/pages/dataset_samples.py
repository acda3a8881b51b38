"""The tab “What the model will see”: true training samples, drawn by the trainer's own code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tomlkit

from kohya_gui.forms.drafts import Draft
from kohya_gui.forms.live import Live
from kohya_gui.forms.preparation import prepare
from kohya_gui.jobs.launch import JOB_PAGES
from kohya_gui.pages.dataset_desk import DatasetDesk, usual_ending
from kohya_gui.pages.shell import widget
from kohya_gui.reasons import told_line
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import JOBS, TrainingJob

TITLE: Final = "dataset.tab_samples"
MOST: Final = 48
_OTHER_SOURCES: Final = ("dataset_config", "in_json")
"""Options that would name other pictures than those of the folder that is open."""


def build(desk: DatasetDesk) -> None:
    """Place the samples; called within its tab."""
    samples = DatasetSamples(desk)
    widget(
        "dataset_samples",
        server=[samples.training_forms, samples.draw_samples, samples.look_at_samples],
        elem_id="kg-dataset-samples",
    )


class DatasetSamples:
    """What the script asks: which forms there are, and samples drawn with the settings of one."""

    def __init__(self, desk: DatasetDesk) -> None:
        self._desk = desk
        self._context = desk.context
        self._live = Live(self._context.scans, self._context.workspace, self._context.text)

    def training_forms(self, _: object = None) -> list[dict[str, str]]:
        """Return the training pages, whose forms may be drawn with: job, page and title."""
        return [
            {"job": name, "page": page, "title": JOBS[name].title}
            for name, page in JOB_PAGES.items()
            if issubclass(JOBS[name], TrainingJob)
        ]

    def draw_samples(self, request: object = None) -> dict[str, Any]:
        """Start drawing samples of the open folder with the settings of a form."""
        data = request if isinstance(request, Mapping) else {}
        job = str(data.get("job") or "train_network")
        if job not in JOBS or not issubclass(JOBS[job], TrainingJob):
            return {"problem": self._context.text("dataset.samples_no_form")}
        draft = self._context.drafts.load(str(data.get("draft") or ""), job) or Draft(job)
        try:
            folder = self._desk.resolve(str(data.get("folder") or ""))
            values = self._values(draft, folder)
            family = self._live.look(draft).family
            drawing = self._context.checks.start_samples(
                job,
                tomlkit.dumps({k: v for k, v in values.items() if v is not None}),
                self._context.thumbnails,
                ["--count", str(_number(data, "count", 12, MOST))]
                + ["--epoch", str(_number(data, "epoch", 1, 100_000))]
                + (["--family", family] if family else []),
            )
        except UserError as error:
            return {"problem": told_line(error.problems[0])}
        return {"drawing": drawing, "ending": str(values.get("caption_extension") or "")}

    def _values(self, draft: Draft, folder: Path) -> dict[str, object]:
        """Return the form's values for the open folder, with the decisions about its pictures."""
        values = prepare(draft, self._context.workspace).values
        for name in _OTHER_SOURCES:
            values.pop(name, None)
        values["train_data_dir"] = str(folder)
        if "caption_extension" not in draft.values:
            values["caption_extension"] = usual_ending(folder)
        decisions = self._desk.place(folder).decisions
        if decisions.is_file() and not values.get("picture_decisions"):
            values["picture_decisions"] = str(decisions)
        return values

    def look_at_samples(self, request: object = None) -> dict[str, Any]:
        """Return how the drawing stands, with the samples once they are there."""
        drawing = str(request.get("drawing") or "") if isinstance(request, Mapping) else ""
        return self._context.checks.look(drawing)


def _number(data: Mapping[Any, object], name: str, otherwise: int, most: int) -> int:
    value = data.get(name)
    return min(most, max(1, value)) if isinstance(value, int) else otherwise
