"""The Dreambooth page: the training page of `train_db`."""

from __future__ import annotations

from typing import Final

from kohya_gui.context import Context
from kohya_gui.pages.shell import Page
from kohya_gui.pages.training import build_training_page
from sd_scripts.options.jobs import TrainDbJob


def _build(context: Context) -> None:
    build_training_page(context, TrainDbJob)


PAGE: Final = Page("dreambooth", "nav.dreambooth", _build, group="nav.train")
