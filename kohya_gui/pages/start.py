"""The start page: what is going on, what was done last, and the door to the first LoRA."""

from __future__ import annotations

from html import escape
from typing import Final

from kohya_gui.context import Context
from kohya_gui.forms.starter import starter_is_there
from kohya_gui.locales import Texts
from kohya_gui.pages.run_actions import run_functions
from kohya_gui.pages.shell import Page, widget
from kohya_gui.quick_gradio import gr


def _build(context: Context) -> None:
    text = context.text
    gr.HTML(
        f'<section class="kg-card kg-welcome"><h1 class="kg-page-title">'
        f"{escape(text('start.title'))}</h1><p class='kg-lead'>{escape(text('start.lead'))}</p>"
        f'<p class="kg-row"><a class="kg-button kg-primary" href="./lora">'
        f"{escape(text('start.lora'))}</a>{_try_now(text)}</p></section>",
        apply_default_css=False,
        js_on_load=None,
    )
    widget("overview", server=run_functions(context), elem_id="kg-overview")


def _try_now(text: Texts) -> str:
    if not starter_is_there():
        return ""
    return (
        f'<a class="kg-button" href="./lora?try=starter">{escape(text("start.try"))}</a>'
        f'<span class="kg-quiet">{escape(text("start.try_why"))}</span>'
    )


PAGE: Final = Page("", "nav.start", _build)
