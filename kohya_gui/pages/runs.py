"""All runs; with `?run=<id>` one, with `?compare=<id>&compare=<id>` some side by side."""

from __future__ import annotations

from typing import Final

from kohya_gui.context import Context
from kohya_gui.pages.compare_actions import CompareActions
from kohya_gui.pages.history_actions import HistoryActions
from kohya_gui.pages.run_actions import run_functions
from kohya_gui.pages.shell import Page, widget


def _build(context: Context) -> None:
    server = [*run_functions(context), *HistoryActions(context).functions()]
    server.append(CompareActions(context).compare_runs)
    widget("runs", server=server, elem_id="kg-runs")


PAGE: Final = Page("runs", "nav.runs", _build)
