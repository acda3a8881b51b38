"""All pages, in the order of the navigation; a new page is one module and one entry here."""

from __future__ import annotations

from typing import Final

from kohya_gui.pages import (
    captioning,
    dataset,
    dreambooth,
    fine_tune,
    lora,
    runs,
    settings,
    start,
    teach,
    textual_inversion,
    tools,
    try_it,
)
from kohya_gui.pages.shell import Page

PAGES: Final[tuple[Page, ...]] = (
    start.PAGE,
    teach.PAGE,
    dataset.PAGE,
    captioning.PAGE,
    captioning.SENTENCES,
    lora.PAGE,
    dreambooth.PAGE,
    fine_tune.PAGE,
    textual_inversion.PAGE,
    try_it.PAGE,
    runs.PAGE,
    tools.PAGE,
    settings.PAGE,
)
