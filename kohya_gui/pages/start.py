"""The start page: what is going on, what was begun and done, and three doors to what comes next."""

from __future__ import annotations

import json
from html import escape
from typing import Final

from kohya_gui.context import Context
from kohya_gui.forms.starter import starter_is_there
from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.run_actions import run_functions
from kohya_gui.pages.shell import Page, widget
from kohya_gui.pages.teach import TeachAnswers
from kohya_gui.quick_gradio import gr

_DOORS: Final = (("teach", "teach"), ("go_on", "runs"), ("pictures", "pictures"))
"""The doors: key of the text, address of the page."""


def _build(context: Context) -> None:
    text = context.text
    doors = "".join(
        f'<a class="kg-door{" kg-primary" if key == "teach" else ""}" href="./{page}">'
        f"<strong>{escape(text(f'start.{key}'))}</strong>"
        f'<span class="kg-quiet">{escape(text(f"start.{key}_why"))}</span></a>'
        for key, page in _DOORS
    )
    gr.HTML(
        f'<h1 class="kg-page-title">{escape(text("start.title"))}</h1>'
        f"<p class='kg-lead'>{escape(text('start.lead'))}</p>"
        f'<nav class="kg-doors" aria-label="{escape(text("start.doors"))}">{doors}</nav>',
        apply_default_css=False,
        js_on_load=None,
    )
    answers = TeachAnswers(DatasetDesk(context, gr.Textbox(visible="hidden")))
    widget(
        "begun",
        server=[answers.teach_list],
        elem_id="kg-begun",
        facts=json.dumps({"starter": starter_is_there()}),
    )
    widget("overview", server=run_functions(context), elem_id="kg-overview")


PAGE: Final = Page("", "nav.start", _build)
