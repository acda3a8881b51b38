"""The Fine-tune page: the training page of `fine_tune`."""

from __future__ import annotations

from typing import Final

from kohya_gui.context import Context
from kohya_gui.pages.shell import Page
from kohya_gui.pages.training import build_training_page
from sd_scripts.options.jobs import FineTuneJob


def _build(context: Context) -> None:
    build_training_page(context, FineTuneJob)


PAGE: Final = Page("fine-tune", "nav.fine_tune", _build, group="nav.train")
