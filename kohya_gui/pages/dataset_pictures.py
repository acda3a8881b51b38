"""The tab “Pictures and captions”: the grid, the caption editor, and changing many at once."""

from __future__ import annotations

from typing import Final

from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.shell import widget

TITLE: Final = "dataset.tab_pictures"


def build(desk: DatasetDesk) -> None:
    """Place the grid; called within its tab."""
    widget("dataset_pictures", elem_id="kg-dataset-pictures")
