"""In the settings: where each secret comes from; keeping one in the keyring, and forgetting it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from pydantic import SecretStr

from kohya_gui.context import Context
from kohya_gui.jobs import vault
from kohya_gui.jobs.vault import KEYRING_COMMAND, SECRETS, KeyringState
from kohya_gui.pages.dataset_jobs import Answer, in_words
from kohya_gui.pages.shell import widget
from kohya_gui.quick_gradio import gr


def build_secrets(context: Context) -> None:
    """Place the card; called within the settings page."""
    text = context.text
    secrets = Secrets(context)
    with gr.Column(elem_classes=["kg-card"]):
        gr.HTML(
            f'<h2 class="kg-h">{escape(text("settings.secrets"))}</h2>'
            f'<p class="kg-quiet kg-why">{escape(text("settings.secrets_why"))}</p>',
            apply_default_css=False,
            js_on_load=None,
        )
        server = [secrets.list_secrets, secrets.keep_secret, secrets.forget_secret]
        widget("secrets", server=server, elem_id="kg-secrets")


class Secrets:
    """What the script asks. No answer holds a secret."""

    def __init__(self, context: Context) -> None:
        self._text = context.text

    @in_words
    def list_secrets(self, data: Mapping[str, Any]) -> Answer:
        """Return where each secret comes from, and what can be done here.

        The keyring is read only with `look`: that could ask its owner to open it, each time this
        page is looked at.
        """
        keyring = vault.look_at_keyring()
        is_looked = keyring.state == "ready" and bool(data.get("look"))
        rows = [self._row(name, keyring.state, is_looked) for name in SECRETS]
        unknown = any(row["where"] == "keyring_unread" for row in rows)
        return {"rows": rows, "note": self._note(keyring.state), "can_look": unknown}

    @in_words
    def keep_secret(self, data: Mapping[str, Any]) -> Answer:
        """Put a secret into the keyring."""
        name, value = str(data.get("name")), data.get("value")
        vault.keep(name, SecretStr(value[: vault.LONGEST] if isinstance(value, str) else ""))
        return {"text": self._text("settings.secret_kept", what=self._what(name))}

    @in_words
    def forget_secret(self, data: Mapping[str, Any]) -> Answer:
        """Take a secret out of the keyring."""
        name = str(data.get("name"))
        key = "forgotten" if vault.forget(name) else "not_there"
        return {"text": self._text(f"settings.secret_{key}", what=self._what(name))}

    def _row(self, name: str, state: KeyringState, is_looked: bool) -> Answer:
        """Return where one secret comes from. Raises `UserError` if the keyring stays shut."""
        if vault.in_environment(name) is not None:
            where = "variable"
        elif state not in ("ready", "silent"):
            where = "nowhere"
        elif not is_looked:
            where = "keyring_unread"
        else:
            where = "keyring" if vault.secret(name) is not None else "none"
        return {
            "name": name,
            "what": self._what(name),
            "where": where,
            "words": self._words(name, where),
            "can_keep": state == "ready",
            "can_forget": state == "ready" and where in ("keyring", "keyring_unread"),
        }

    def _words(self, name: str, where: str) -> str:
        words = self._text(f"settings.secret_in_{where}", name=name)
        if name != vault.PASSWORD or where == "variable":
            return words
        return f"{words} {self._text('settings.secret_from_start')}"

    def _what(self, name: str) -> str:
        return self._text(f"settings.secret_{name.lower()}")

    def _note(self, state: KeyringState) -> str:
        if state == "ready":
            return ""
        return self._text(f"settings.keyring_{state}", command=KEYRING_COMMAND)
