"""In the settings: where each secret comes from, and how to keep it in the system's keyring."""

from __future__ import annotations

from html import escape
from typing import Final

from kohya_gui.context import Context
from kohya_gui.jobs.vault import KEYRING_COMMAND, SECRETS, in_environment, look_at_keyring
from kohya_gui.quick_gradio import gr

_COMMAND: Final = "python -m kohya_gui secret --keep {name}"


def build_secrets(context: Context) -> gr.HTML:
    """Place the card; called within the settings page. `secrets_list` fills what it returns."""
    text = context.text
    with gr.Column(elem_classes=["kg-card"]):
        gr.HTML(
            f'<h2 class="kg-h">{escape(text("settings.secrets"))}</h2>'
            f'<p class="kg-quiet kg-why">{escape(text("settings.secrets_why"))}</p>',
            apply_default_css=False,
            js_on_load=None,
        )
        return gr.HTML("", apply_default_css=False, js_on_load=None, elem_id="setting-secrets")


def secrets_list(context: Context) -> str:
    """Return where each secret comes from, as markup. No secret is read from the keyring for it:
    that could ask its owner to open it, each time this page is looked at."""
    text, keyring = context.text, look_at_keyring()
    rows = [f"<li>{_told(context, name, keyring.state == 'ready')}</li>" for name in SECRETS]
    more = {
        "ready": "",
        "missing": text("settings.keyring_missing", command=KEYRING_COMMAND),
        "closed": text("settings.keyring_closed"),
    }[keyring.state]
    note = f'<p class="kg-quiet kg-small">{escape(more)}</p>' if more else ""
    return f"<ul class='kg-list'>{''.join(rows)}</ul>{note}"


def _told(context: Context, name: str, ready: bool) -> str:
    text = context.text
    what = escape(text(f"settings.secret_{name.lower()}"))
    if in_environment(name) is not None:
        where = escape(text("settings.secret_in_variable", name=name))
    elif ready:
        where = escape(text("settings.secret_in_keyring"))
        where += f" <code>{escape(_COMMAND.format(name=name))}</code>"
    else:
        where = escape(text("settings.secret_nowhere", name=name))
    return f"<strong>{what}</strong> {where}"
