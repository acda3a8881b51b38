"""The LoRA page: the training page of `train_network`."""

from __future__ import annotations

from typing import Final

from kohya_gui.context import Context
from kohya_gui.pages.shell import Page
from kohya_gui.pages.training import build_training_page
from sd_scripts.options.jobs import TrainNetworkJob


def _build(context: Context) -> None:
    build_training_page(context, TrainNetworkJob)


PAGE: Final = Page("lora", "nav.lora", _build, group="nav.train")
