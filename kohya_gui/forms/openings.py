"""Files that somebody opens in a form: a job's own, or old settings with a report on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_gui.browse import Browser
from kohya_gui.importers.opening import foreign_report, is_json, report_of_json
from kohya_gui.importers.report import Report
from kohya_gui.locales import Texts
from kohya_gui.locales.speaking import told
from kohya_gui.reasons import told_line
from sd_scripts.errors import UserError
from sd_scripts.options.jobs import Job


@dataclass(frozen=True)
class Opening:
    """A file that somebody opens: sent by the browser as text, or lying on the server at `path`."""

    source: str
    text: str
    path: Path | None

    @classmethod
    def of(cls, data: Mapping[str, object], browser: Browser) -> Opening:
        """Read what the page's script sends. Raises `UserError` for a file that may not be seen."""
        if data.get("file"):
            path = browser.resolve(str(data["file"]))
            return cls(path.name, "", path)
        return cls(str(data.get("source") or "config"), str(data.get("text") or ""), None)

    def report(self) -> Report | None:
        """Report on it if it is no job's TOML. Raises `UserError` when it cannot be read."""
        if self.path is not None:
            return foreign_report(self.path)
        return report_of_json(self.text, self.source) if is_json(self.text) else None


def tell_import(opening: Opening, job_type: type[Job], text: Texts) -> dict[str, Any]:
    """Tell what becomes of somebody's old settings, before the form is filled with them."""
    try:
        report = opening.report()
    except UserError as error:
        why = [told_line(problem) for problem in error.problems]
        return _report_row(opening.source, why)
    if report is None:
        return {"state": "no_report"}
    fits = report.job_type is job_type
    headings = {
        "changed": text("form.import_changed"),
        "ignored": text("form.import_ignored"),
        "unknown": text("form.import_unknown"),
        "mapped": text("form.import_mapped"),
    }
    sections = [
        {"fate": fate, "title": headings[fate], "lines": [told(line) for line in lines]}
        for fate, lines in report.sections()
    ]
    refused = map(told, report.refused) if fits else why_not(report, text)
    return {**_report_row(opening.source, refused), "fits": fits, "sections": sections}


def why_not(report: Report, text: Texts) -> tuple[str, ...]:
    """Return why a report's values cannot stand in this page's form, in the page's language."""
    if report.job_type is None:
        return tuple(map(told, report.refused))
    return (text("form.import_other_job", job=report.job_type.title),)


def _report_row(source: str, refused: Iterable[str]) -> dict[str, Any]:
    """Return a report on settings that do not fit into the form, for the page."""
    return {
        "state": "report",
        "source": source,
        "fits": False,
        "refused": list(refused),
        "sections": [],
    }
