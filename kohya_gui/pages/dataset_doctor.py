"""The tab “Doctor”: what was found in sentences, and remedies that can be taken back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from kohya_gui.locales.speaking import told
from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.dataset_jobs import (
    Answer,
    fields_of,
    in_words,
    job_state,
    start_job,
    stop_job,
)
from kohya_gui.pages.shell import widget
from kohya_gui.reasons import told_of
from kohya_gui.thumbnails import Thumbnails
from sd_scripts.dataset.decision_files import change_decisions, read_decisions
from sd_scripts.dataset.decisions import Change, Decisions, PictureDecision
from sd_scripts.dataset.doctor.findings import Finding, Remedy, Report, report_from_json
from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import CheckPicturesJob
from sd_scripts.options.words import FAMILY_NAMES

_Item = TypeVar("_Item")

TITLE: Final = "dataset.tab_doctor"
MAX_SMALL: Final = 60
FIELDS: Final = (
    "model_family",
    "resolution",
    "enable_bucket",
    "train_batch_size",
    "caption_extension",
    "trigger_word",
    "max_token_length",
    "min_bucket_reso",
    "max_bucket_reso",
    "bucket_reso_steps",
    "bucket_no_upscale",
    "dataset_repeats",
    "reg_data_dir",
    "skip_checks",
)
FIRST: Final = ("model_family", "resolution", "enable_bucket", "trigger_word")
"""What is asked at once; the rest is rarely changed."""
BEGINNING: Final[Mapping[str, object]] = {"enable_bucket": True}
"""What the page begins with in place of the options' own defaults: as every preset trains."""


def build(desk: DatasetDesk) -> None:
    """Place the doctor; called within its tab."""
    doctor = DatasetDoctor(desk)
    fields = fields_of(CheckPicturesJob, FIELDS, desk.context.text, FIRST)
    for field in fields:
        field["value"] = BEGINNING.get(field["name"], field["value"])
        if field["name"] == "model_family":
            field["choices"] = [(title, name) for name, title in FAMILY_NAMES.items()]
    widget(
        "dataset_doctor",
        server=[
            doctor.doctor_report,
            doctor.doctor_start,
            doctor.doctor_remedy,
            doctor.doctor_turn,
            doctor.doctor_small,
            doctor.doctor_state,
            doctor.doctor_stop,
        ],
        elem_id="kg-dataset-doctor",
        facts=json.dumps({"fields": fields}),
    )


class DatasetDoctor:
    """What the script asks. Findings and pictures are named by their numbers in the report.

    The report's `mark` goes with the numbers: in another report they would mean something else.
    """

    def __init__(self, desk: DatasetDesk) -> None:
        self._desk = desk
        self._context = desk.context
        self._thumbnails = Thumbnails(desk.context.thumbnails)

    @in_words
    def doctor_start(self, data: Mapping[str, Any]) -> Answer:
        """Examine the open folder as a job; its report goes to the workspace too."""
        folder = self._folder(data)
        place = self._desk.place(folder)
        fixed: dict[str, object] = {
            "train_data_dir": str(folder),
            "report_path": str(place.doctor),
        }
        if place.decisions.is_file():
            fixed["picture_decisions"] = str(place.decisions)
        raw = data.get("raw")
        name = self._context.text("run_name.doctor", name=folder.name)
        typed = {**BEGINNING, **(raw if isinstance(raw, Mapping) else {})}
        return start_job(self._context, CheckPicturesJob, typed, fixed, name)

    @in_words
    def doctor_state(self, data: Mapping[str, Any]) -> Answer:
        """Return how the examination stands."""
        return job_state(self._context, data)

    @in_words
    def doctor_stop(self, data: Mapping[str, Any]) -> Answer:
        """End the examination."""
        return stop_job(self._context, data)

    @in_words
    def doctor_report(self, data: Mapping[str, Any]) -> Answer:
        """Return the last report, with what was decided about its pictures since."""
        folder = self._folder(data)
        report, mark = self._report(folder)
        decisions = self._decisions(folder)
        answer: Answer = {
            "undo": told(decisions.done[-1].text) if decisions.done else "",
            "redo": told(decisions.undone[-1].text) if decisions.undone else "",
        }
        if report is not None:
            answer["mark"] = mark
            answer["verdict"] = told(report.verdict)
            answer["complete"] = report.complete
            answer["findings"] = [_finding_row(one, folder, decisions) for one in report.findings]
        return answer

    @in_words
    def doctor_remedy(self, data: Mapping[str, Any]) -> Answer:
        """Decide what a remedy says, for all its pictures or one of them."""
        folder = self._folder(data)
        finding, remedy, only = self._remedy(folder, data)
        place = self._desk.place(folder)

        def decide(now: Decisions) -> Decisions:
            return now.changed(_change(now, finding, remedy, only))

        change_decisions(place.decisions, folder, decide)
        return {}

    @in_words
    def doctor_turn(self, data: Mapping[str, Any]) -> Answer:
        """Take the last decision back, or make it again."""
        folder = self._folder(data)
        turn = Decisions.redo if data.get("redo") else Decisions.undo
        change_decisions(self._desk.place(folder).decisions, folder, turn)
        return {}

    @in_words
    def doctor_small(self, data: Mapping[str, Any]) -> Answer:
        """Return small copies of a finding's pictures, by number; `later` are still to be made."""
        folder = self._folder(data)
        names, wanted = self._finding(folder, data).pictures, data.get("pictures")
        browser = self._context.browser()
        pictures: dict[int, Path] = {}
        for one in (wanted if isinstance(wanted, list) else [])[:MAX_SMALL]:
            if isinstance(one, int) and 0 <= one < len(names):
                picture = browser.allowed(names[one])  # None for a link to somewhere else
                if picture is not None:
                    pictures[one] = picture
        made = self._thumbnails.make_some(pictures.values())
        files = {str(one): str(made[path]) for one, path in pictures.items() if made.get(path)}
        return {
            "files": files,
            "later": [one for one, path in pictures.items() if path not in made],
        }

    def _folder(self, data: Mapping[str, Any]) -> Path:
        return self._desk.resolve(str(data.get("folder") or ""))

    def _report(self, folder: Path) -> tuple[Report | None, str]:
        """Return the last report and its mark, which another report would not have."""
        try:
            data = self._desk.place(folder).doctor.read_bytes()
            return report_from_json(data.decode("ascii")), _mark(data)
        except (OSError, ValueError):
            return None, ""  # nobody asked the doctor yet, or an older version: the tab offers it

    def _decisions(self, folder: Path) -> Decisions:
        file = self._desk.place(folder).decisions
        return read_decisions(file) if file.exists() else Decisions(folder)

    def _finding(self, folder: Path, data: Mapping[str, Any]) -> Finding:
        """Return the finding that was shown. Raises `UserError` if there is another report now."""
        report, mark = self._report(folder)
        if report is None or data.get("mark") != mark:
            raise UserError(self._context.text("dataset.doctor_old"))
        return self._at(report.findings, data.get("finding"))

    def _remedy(self, folder: Path, data: Mapping[str, Any]) -> tuple[Finding, Remedy, str | None]:
        """Return finding and remedy, and the one picture that is meant, if not all are."""
        finding = self._finding(folder, data)
        only = self._at(finding.pictures, data["picture"]) if "picture" in data else None
        return finding, self._at(finding.remedies, data.get("remedy")), only

    def _at(self, items: Sequence[_Item], number: object) -> _Item:
        if not isinstance(number, int) or not 0 <= number < len(items):
            raise UserError(self._context.text("dataset.doctor_old"))
        return items[number]


def _mark(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _change(now: Decisions, finding: Finding, remedy: Remedy, only: str | None) -> Change:
    """What a remedy decides; other decisions about its pictures stay."""
    pictures: dict[str, PictureDecision | None] = {}
    for path in remedy.pictures if only is None else (only,):
        name = now.name_of(Path(path))
        if name is None:
            continue
        before = now.of(Path(path))
        if remedy.kind == "exclude":
            pictures[name] = PictureDecision(True, before.crop, finding.code)
        elif path in remedy.windows:
            pictures[name] = PictureDecision(before.exclude, remedy.windows[path], finding.code)
    repeats = {
        name: times
        for path, times in remedy.repeats.items()
        if (name := now.name_of(Path(path))) is not None
    }
    return Change(f"{remedy.label}: {finding.verdict}", pictures, repeats)


def _finding_row(finding: Finding, folder: Path, decisions: Decisions) -> dict[str, Any]:
    numbers = {path: number for number, path in enumerate(finding.pictures)}
    return {
        "code": finding.code,
        "weight": finding.weight,
        "verdict": told(finding.verdict),
        "pictures": [_picture_row(path, finding, folder, decisions) for path in finding.pictures],
        "groups": [[numbers[path] for path in group] for group in finding.groups],
        "remedies": [
            {
                "kind": remedy.kind,
                "label": told(remedy.label),
                "pictures": [numbers[path] for path in remedy.pictures if path in numbers],
                "prefix": remedy.prefix,
                "done": _is_done(remedy, decisions),
            }
            for remedy in finding.remedies
        ],
        "details": [
            f"{shown(Path(name).name)}: {told(detail)}"
            for name, detail in finding.details.items()
            if name not in numbers
        ],
    }


def _picture_row(path: str, finding: Finding, folder: Path, decisions: Decisions) -> dict[str, Any]:
    place, decision = Path(path), decisions.of(Path(path))
    inside = place.relative_to(folder) if place.is_relative_to(folder) else place
    return {
        "name": shown(inside).replace("\n", "⏎"),
        "detail": told_of(place.name, finding.details.get(path, "")),
        "excluded": decision.exclude,
        "cropped": decision.crop is not None,
    }


def _is_done(remedy: Remedy, decisions: Decisions) -> bool:
    if remedy.kind == "exclude":
        return all(decisions.of(Path(path)).exclude for path in remedy.pictures)
    if remedy.kind == "crop":
        return all(decisions.of(Path(p)).crop == window for p, window in remedy.windows.items())
    if remedy.kind == "repeats":
        return all(decisions.repeats_of(Path(p)) == times for p, times in remedy.repeats.items())
    return False
