"""The doctor's report as lines for a terminal or a log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from sd_scripts.dataset.doctor.findings import Finding, Report

_LINES: Final = 12


def in_lines(report: Report) -> Iterator[str]:
    """The report for a terminal."""
    marks = {"bad": "✗", "doubtful": "?", "note": "·"}
    yield report.verdict
    if not report.complete:
        yield "Stopped early: not all pictures were looked at."
    for finding in report.findings:
        yield ""
        yield f"{marks[finding.weight]} {finding.verdict}"
        for line in _picture_lines(finding, report.folder):
            yield f"    {line}"
        for remedy in finding.remedies:
            yield f"  → {remedy.label}"


def _picture_lines(finding: Finding, folder: str) -> Iterator[str]:
    def short(name: str) -> str:
        inside = os.path.relpath(name, folder) if name.startswith(folder + os.sep) else name
        return inside.replace("\n", "⏎").encode("utf-8", "replace").decode("utf-8")

    rows = [" = ".join(map(short, group)) for group in finding.groups]
    if not rows:
        listed = finding.pictures or tuple(finding.details)
        rows = [
            f"{short(name)}: {finding.details[name]}" if name in finding.details else short(name)
            for name in listed
        ]
    yield from rows[:_LINES]
    if len(rows) > _LINES:
        yield f"and {len(rows) - _LINES} more"
