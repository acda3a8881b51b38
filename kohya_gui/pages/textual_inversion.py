"""The Textual Inversion page: the training page of `train_textual_inversion`."""

from __future__ import annotations

from typing import Final

from kohya_gui.context import Context
from kohya_gui.pages.shell import Page
from kohya_gui.pages.training import build_training_page
from sd_scripts.options.jobs import TrainTextualInversionJob


def _build(context: Context) -> None:
    build_training_page(context, TrainTextualInversionJob)


PAGE: Final = Page("textual-inversion", "nav.textual_inversion", _build, group="nav.train")
