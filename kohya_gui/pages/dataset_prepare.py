"""The tab “Prepare”: a dry run that shows what would be made, then the job that makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.dataset_jobs import (
    Answer,
    ended_run,
    fields_of,
    in_words,
    job_state,
    start_job,
    stop_job,
)
from kohya_gui.pages.folders import folder_lister
from kohya_gui.pages.shell import widget
from sd_scripts.options.jobs import PreparePicturesJob
from sd_scripts.options.schema import option_specs

TITLE: Final = "dataset.tab_prepare"
PLAN_NAME: Final = "prepared.json"
MAX_ROWS: Final = 100
_SET_HERE: Final = ("train_data_dir", "picture_decisions", "dry_run")
_FIRST: Final = ("output_dir", "resolution", "concept_words", "dataset_repeats", "save_pictures_as")
"""What is asked at once, in this order; the rest is rarely changed."""


def build(desk: DatasetDesk) -> None:
    """Place the fields; called within their tab."""
    tab = DatasetPrepare(desk)
    known = [one.name for one in option_specs(PreparePicturesJob) if one.name not in _SET_HERE]
    names = [*_FIRST, *(name for name in known if name not in _FIRST)]
    fields = fields_of(PreparePicturesJob, names, desk.context.text, _FIRST)
    widget(
        "dataset_prepare",
        server=[
            tab.prepare_start,
            tab.prepare_state,
            tab.prepare_stop,
            folder_lister(desk.context),
        ],
        elem_id="kg-dataset-prepare",
        facts=json.dumps({"fields": fields}),
    )


class DatasetPrepare:
    """What the script asks."""

    def __init__(self, desk: DatasetDesk) -> None:
        self._desk = desk
        self._context = desk.context

    @in_words
    def prepare_start(self, data: Mapping[str, Any]) -> Answer:
        """Start the job on the open folder: with `dry`, only to see what would be made."""
        folder = self._desk.resolve(str(data.get("folder") or ""))
        fixed: dict[str, object] = {
            "train_data_dir": str(folder),
            "dry_run": bool(data.get("dry")),
        }
        decisions = self._desk.place(folder).decisions
        if decisions.is_file():
            fixed["picture_decisions"] = str(decisions)
        raw = data.get("raw")
        typed = raw if isinstance(raw, Mapping) else {}
        name = self._context.text("run_name.prepare", name=folder.name)
        return start_job(self._context, PreparePicturesJob, typed, fixed, name)

    @in_words
    def prepare_state(self, data: Mapping[str, Any]) -> Answer:
        """Return how the job stands; once it is planned, what is made of which picture."""
        answer = job_state(self._context, data)
        run = ended_run(self._context, data, answer)
        if run is not None and (run.output / PLAN_NAME).is_file():
            plan = json.loads((run.output / PLAN_NAME).read_text("ascii"))
            answer["folders"] = plan["folders"]
            answer["count"] = len(plan["pictures"])
            answer["pictures"] = [_row(one) for one in plan["pictures"][:MAX_ROWS]]
        return answer

    @in_words
    def prepare_stop(self, data: Mapping[str, Any]) -> Answer:
        """End the job; nothing is left behind."""
        return stop_job(self._context, data)


def _row(one: Mapping[str, Any]) -> dict[str, str]:
    size = "{} x {}".format(*one["size"])
    return {"from": _printable(one["from"]), "to": _printable(one["to"]), "size": size}


def _printable(name: str) -> str:
    return name.replace("\n", "⏎").encode("utf-8", "replace").decode("utf-8")
