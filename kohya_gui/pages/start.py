"""The start page: what is going on, what was done last, and the door to the first LoRA."""

from __future__ import annotations

from html import escape
from typing import Final

from kohya_gui.context import Context
from kohya_gui.pages.run_actions import run_functions
from kohya_gui.pages.shell import Page, widget
from kohya_gui.quick_gradio import gr


def _build(context: Context) -> None:
    text = context.text
    gr.HTML(
        f'<section class="kg-card kg-welcome"><h1 class="kg-page-title">'
        f"{escape(text('start.title'))}</h1><p class='kg-lead'>{escape(text('start.lead'))}</p>"
        f'<a class="kg-button kg-primary" href="./lora">{escape(text("start.lora"))}</a></section>',
        apply_default_css=False,
        js_on_load=None,
    )
    widget("overview", server=run_functions(context), elem_id="kg-overview")


PAGE: Final = Page("", "nav.start", _build)
