"""The runs page: the list of runs and, with `?run=<id>` in its address, the view of one."""

from __future__ import annotations

from typing import Final

from kohya_gui.context import Context
from kohya_gui.pages.history_actions import HistoryActions
from kohya_gui.pages.run_actions import run_functions
from kohya_gui.pages.shell import Page, widget


def _build(context: Context) -> None:
    server = [*run_functions(context), *HistoryActions(context).functions()]
    widget("runs", server=server, elem_id="kg-runs")


PAGE: Final = Page("runs", "nav.runs", _build)
