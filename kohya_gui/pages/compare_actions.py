"""What the page asks the server to show several runs side by side."""

from __future__ import annotations

from typing import Any, Final

from kohya_gui.context import Context
from kohya_gui.failures import option_label, value_shown
from kohya_gui.jobs.comparing import Comparison, compare
from kohya_gui.pages.history_actions import given_list
from kohya_gui.run_view import curve_row, run_row
from sd_scripts.errors import UserError
from sd_scripts.runs.folder import RunFolder

_THUMBNAILS_PER_LOOK: Final = 24


class CompareActions:
    """The function, bound to what pages share."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def compare_runs(self, request: object = None) -> dict[str, Any]:
        """Return losses, differences and previews of some runs; `more` while small copies of
        previews are still to be made."""
        text, views = self._context.text, self._context.views
        try:
            found = compare(self._context.store, given_list(request, "runs"), views.feed)
        except UserError:
            return {"problem": text("js.compare.how_many")}
        previews, more = self._previews(found)
        return {
            "runs": [
                {
                    **run_row(run.summary, text),
                    "loss_curve": curve_row(run.chart.smoothed),
                    "validation": curve_row(run.chart.validation),
                    "pictures_per_step": run.pictures_per_step,
                }
                for run in found.runs
            ],
            "differences": [
                {
                    "option": one.option,
                    "label": self._label(found, one.option),
                    "values": [value_shown(value, text) for value in one.values],
                }
                for one in found.differences
            ],
            "previews": previews,
            "missing": list(found.missing),
            "more": more,
        }

    def _label(self, found: Comparison, option: str) -> str:
        jobs = [run.summary.job for run in found.runs]
        labels = (option_label(job, option, self._context.text) for job in jobs)
        return next((label for label in labels if label != option), option)

    def _previews(self, found: Comparison) -> tuple[list[dict[str, Any]], bool]:
        folders: dict[str, RunFolder] = {run.summary.id: run.summary.folder for run in found.runs}
        budget = _THUMBNAILS_PER_LOOK
        rows = []
        for row in found.previews:
            cells = []
            for (run_id, _), sample in row.cells.items():
                cell, made = self._context.views.sample_row(
                    folders[run_id], sample, make=budget > 0
                )
                budget -= made
                cells.append({**cell, "run": run_id})
            rows.append({"prompt": row.prompt, "seed": row.seed, "cells": cells})
        return rows, budget <= 0
