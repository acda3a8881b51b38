"""What was found in the pictures and what is wrong, as plain data that the page's script draws."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from kohya_gui.forms.scans import Scan
from kohya_gui.locales import Texts
from kohya_gui.locales.speaking import told
from sd_scripts.dataset.plan import DatasetPlan
from sd_scripts.dataset.summary import FolderSummary, Summary, summarise
from sd_scripts.errors import Problem

MAX_NAMES: Final = 12
MAX_BUCKETS: Final = 40
_OR: Final = re.compile(r",? or |; ")
_REMEDY: Final = re.compile(
    r"(?:(?:^|set |and )(?P<name>[a-z][a-z0-9_]*) to (?P<value>[^\s,;()]+))"
    r"|(?:(?:^|switch |and )(?P<switched>[a-z][a-z0-9_]*) (?P<way>on|off)\b)"
    r"|(?:(?:empty|clear) (?P<emptied>[a-z][a-z0-9_]*))"
)


def problem_row(
    problem: Problem, raw: Mapping[str, object], *, touched: bool = True
) -> dict[str, Any]:
    """Return a problem for the page. `missing` marks one that only says a field is still empty, or
    warns of a default where nobody has touched the form: those are not held against somebody who
    has just begun."""
    options = [name.strip() for name in (problem.option or "").split(",") if name.strip()]
    empty = [name for name in options if raw.get(name) in (None, "", False)]
    unasked = bool(options) and len(empty) == len(options)
    return {
        "message": _sentence(told(problem.message)),
        "hint": told(problem.hint) or None,
        "fixes": _fixes(problem, options, raw),
        "options": options,
        "severity": problem.severity,
        "missing": unasked if problem.severity == "error" else not touched,
    }


def _sentence(text: str) -> str:
    """Begin with a capital, unless the first word is the name of an option."""
    first = text.split(" ", 1)[0]
    return text if "_" in first else text[:1].upper() + text[1:]


def _fixes(
    problem: Problem, options: list[str], raw: Mapping[str, object]
) -> list[dict[str, object]]:
    """Return the ways out that a hint names, each as values to put into the form.

    Ways are joined by "or"; "set <option> to <value>", "switch <option> off" and "empty <option>"
    are understood, and "it" where only one option is meant.
    """
    ways = []
    for words in _OR.split(problem.hint or ""):
        values: dict[str, object] = {}
        for found in _REMEDY.finditer(words):
            name = found["name"] or found["switched"] or found["emptied"]
            if name == "it" and len(options) == 1:
                name = options[0]
            if name in raw:
                values[name] = _wanted(found, ticked=isinstance(raw[name], bool))
        if values:
            ways.append(values)
    return [{"values": values} for values in ways]


def _wanted(found: re.Match[str], *, ticked: bool) -> object:
    """Return what a remedy puts into a widget: a tick where that is one, else text."""
    if found["emptied"]:
        return False if ticked else ""
    word = {"on": "true", "off": "false"}.get(found["way"] or "", found["value"] or "").rstrip(".")
    return word == "true" if ticked else word


def data_report(scan: Scan | None, text: Texts) -> dict[str, Any]:
    """Return what the page shows about the pictures, or how far the look at them is."""
    if scan is None:
        return {"state": "none"}
    if scan.state == "working":
        return {
            "state": "working",
            "text": told(scan.doing) or text("form.data_reading"),
            "done": scan.done,
            "total": scan.total,
        }
    if scan.state == "failed" or not isinstance(scan.found, DatasetPlan):
        return {"state": "failed"}
    return _plan_report(scan.found, text)


def _plan_report(plan: DatasetPlan, text: Texts) -> dict[str, Any]:
    summary = summarise(plan)
    missing = [
        path for data in plan.datasets for one in data.subsets for path in one.missing_captions
    ]
    return {
        "state": "done",
        "headline": _headline(plan, summary, text),
        "num_images": summary.num_images,
        "folders": [_folder(folder) for folder in summary.folders],
        "buckets": [
            {"width": bucket.size[0], "height": bucket.size[1], "count": bucket.times_shown}
            for bucket in summary.buckets[:MAX_BUCKETS]
        ],
        "more_buckets": max(0, len(summary.buckets) - MAX_BUCKETS),
        "missing": [path.name for path in missing[:MAX_NAMES]],
        "num_missing": len(missing),
        "skipped": [
            told(f"{picture.path.name} {picture.reason}") for picture in summary.skipped[:MAX_NAMES]
        ],
        "num_skipped": len(summary.skipped),
        "num_enlarged": summary.num_enlarged,
        "cropped": round(100 * summary.mean_cropped),
        "most_cropped": None
        if summary.most_cropped is None
        else {"name": summary.most_cropped[0].name, "share": round(100 * summary.most_cropped[1])},
        "notes": [told(note) for note in plan.notes],
    }


def _headline(plan: DatasetPlan, summary: Summary, text: Texts) -> str:
    if not summary.num_images:
        return text("data.none")
    regular = text("data.regular", count=summary.num_reg_images) if summary.num_reg_images else ""
    return text("data.headline", count=summary.num_images, shown=plan.num_train_images) + regular


def _folder(folder: FolderSummary) -> dict[str, Any]:
    return {
        "name": folder.path.name,
        "full": str(folder.path),
        "is_reg": folder.is_reg,
        "images": folder.num_images,
        "repeats": folder.num_repeats,
        "captions": folder.num_captions,
        "empty": folder.num_empty_captions,
        "skipped": folder.num_skipped,
        "unused": folder.num_unused,
        "extension": folder.caption_extension,
        "words": folder.words,
    }
