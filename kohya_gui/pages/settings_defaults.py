"""In the settings: the values that new forms begin with, by kind of form, and removing them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from kohya_gui.context import Context
from kohya_gui.failures import option_label, value_shown
from kohya_gui.jobs.launch import JOB_PAGES
from kohya_gui.pages.dataset_jobs import in_words
from kohya_gui.pages.shell import widget
from kohya_gui.quick_gradio import gr
from kohya_gui.settings import keep_page_defaults
from sd_scripts.errors import UserError

Row = dict[str, Any]


def build_defaults(context: Context) -> None:
    """Place the list; called within the settings page."""
    text = context.text
    kept = KeptDefaults(context)
    with gr.Column(elem_classes=["kg-card"]):
        gr.HTML(
            f'<h2 class="kg-h">{escape(text("settings.defaults"))}</h2>'
            f'<p class="kg-quiet kg-why">{escape(text("settings.defaults_why"))}</p>',
            apply_default_css=False,
            js_on_load=None,
        )
        widget("defaults", server=[kept.kept_defaults, kept.forget], elem_id="kg-defaults")


class KeptDefaults:
    """What the script asks."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def kept_defaults(self, _: object = None) -> list[Row]:
        """Return every kind of form with values of its own, each value in words."""
        kept = self._context.settings().page_defaults
        return [self._row(job, values) for job, values in kept.items() if values]

    @in_words
    def forget(self, data: Mapping[str, Any]) -> Row:
        """Remove the values of one kind of form, if they still are those that were shown."""
        text, job = self._context.text, str(data.get("job"))
        now = next((row for row in self.kept_defaults() if row["job"] == job), None)
        if now is not None and now["values"] != data.get("values"):
            raise UserError(text("settings.defaults_changed"))
        keep_page_defaults(self._context.workspace, job, {})
        return {"text": text("settings.defaults_removed", form=self._name(job))}

    def _name(self, job: str) -> str:
        return self._context.text.optional(f"job_name.{job}", job)

    def _row(self, job: str, values: Mapping[str, object]) -> Row:
        text = self._context.text
        shown = [
            {
                "option": name,
                "label": option_label(job, name, text),
                "value": value_shown(value, text),
            }
            for name, value in values.items()
        ]
        return {"job": job, "name": self._name(job), "page": JOB_PAGES.get(job), "values": shown}
