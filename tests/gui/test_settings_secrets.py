"""Secrets in the settings: where each comes from; kept and forgotten, and never sent back."""

from __future__ import annotations

from typing import Any

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from kohya_gui.context import Context
from kohya_gui.jobs import vault
from kohya_gui.locales import available_languages
from kohya_gui.locales.speaking import _asked
from kohya_gui.pages.settings_secrets import Secrets
from tests.gui.jobs.test_vault import VALUE, ring
from tests.support.rings import InMemory

__all__ = ["ring"]


@pytest.fixture
def secrets(context: Context) -> Secrets:
    return Secrets(context)


def where(answer: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["where"] for row in answer["rows"]}


def test_each_is_told_and_the_keyring_read_only_when_asked(
    ring: InMemory, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(vault.WEBHOOK, VALUE)
    ring.kept["kohya_gui", vault.WANDB_KEY] = VALUE
    ring.shut = True  # whoever only looks at the page is not asked to open it
    listed = secrets.list_secrets()
    assert where(listed)[vault.WEBHOOK] == "variable"
    assert where(listed)[vault.WANDB_KEY] == "keyring_unread"
    assert "does not answer" in secrets.list_secrets({"look": True})["problems"][0]["message"]
    ring.shut = False
    looked = secrets.list_secrets({"look": True})
    assert where(looked) == {
        vault.PASSWORD: "none",
        vault.WEBHOOK: "variable",
        vault.WEBHOOK_TOKEN: "none",
        vault.WANDB_KEY: "keyring",
    }
    assert not looked["can_look"]
    assert VALUE not in repr((listed, looked))


def test_one_is_kept_and_forgotten_and_no_answer_holds_it(
    ring: InMemory, secrets: Secrets, context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = secrets.keep_secret({"name": vault.WANDB_KEY, "value": f" {VALUE}\n"})
    assert ring.kept == {("kohya_gui", vault.WANDB_KEY): VALUE}
    answers: list[object] = [kept, secrets.list_secrets({"look": True})]
    for wrong in ({"name": "PATH", "value": VALUE}, {"name": vault.WEBHOOK, "value": "  "}, {}):
        answers.append(refused := secrets.keep_secret(wrong))
        assert refused["problems"]
    ring.shut = True
    answers.append(secrets.keep_secret({"name": vault.WEBHOOK, "value": VALUE}))
    ring.shut = False
    answers.append(secrets.forget_secret({"name": vault.WANDB_KEY}))
    assert ring.kept == {}
    assert "not in the keyring" in secrets.forget_secret({"name": vault.WANDB_KEY})["text"]
    printed = capsys.readouterr()
    assert VALUE not in repr(answers) + printed.out + printed.err
    files = [path for path in context.workspace.path.rglob("*") if path.is_file()]
    assert not any(VALUE.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize("language", available_languages())
def test_without_a_keyring_it_is_said_what_to_do(
    language: str, ring: InMemory, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _asked.set(language)
    try:
        keyring.set_keyring(NoKeyring())
        closed = secrets.list_secrets()
        monkeypatch.setattr(vault, "find_spec", lambda _: None)
        missing = secrets.list_secrets()
        assert vault.KEYRING_COMMAND in missing["note"]
        assert closed["note"] != missing["note"]
        for answer in (closed, missing):
            assert all(row["name"] in row["words"] for row in answer["rows"])
            assert not any(row["can_keep"] or row["can_forget"] for row in answer["rows"])
            assert not answer["can_look"]
    finally:
        _asked.reset(before)


def test_a_keyring_that_does_not_answer_is_told(
    ring: InMemory, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = vault.Keyring("silent")
    monkeypatch.setattr(vault, "look_at_keyring", lambda *_: silent)
    listed = secrets.list_secrets({"look": True})
    assert "does not answer" in listed["note"]
    assert set(where(listed).values()) == {"keyring_unread"}
    assert listed["can_look"]
