"""Secrets: from environment or keyring, shown nowhere; without a keyring it is said what to do."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring
from pydantic import SecretStr

from kohya_gui.__main__ import main
from kohya_gui.arguments import parse_arguments
from kohya_gui.jobs import launch, vault
from kohya_gui.jobs.launch import JobRequest, environment_for
from kohya_gui.jobs.notify import webhook_address
from kohya_gui.workspace import Workspace
from sd_scripts.errors import EXIT_OK, EXIT_USER, UserError
from sd_scripts.runs.folder import RunFolder
from tests.support.rings import InMemory

VALUE = "canary-of-a-secret"


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemory]:
    for name in vault.SECRETS:
        monkeypatch.delenv(name, raising=False)
    before, made = keyring.get_keyring(), InMemory()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def test_the_environment_comes_first_then_the_keyring(ring: InMemory) -> None:
    assert vault.secret(vault.WANDB_KEY, {}) is None
    vault.keep(vault.WANDB_KEY, SecretStr(f" {VALUE}\n"))
    assert vault.secret(vault.WANDB_KEY, {}) == SecretStr(VALUE)
    assert vault.secret(vault.WANDB_KEY, {vault.WANDB_KEY: "mine"}) == SecretStr("mine")
    assert [vault.forget(vault.WANDB_KEY) for _ in range(2)] == [True, False]
    assert vault.secret(vault.WANDB_KEY, {}) is None


def test_a_secret_is_never_shown_by_its_type(ring: InMemory, tmp_path: Path) -> None:
    for name in vault.SECRETS:
        vault.keep(name, SecretStr(VALUE))
    flags = parse_arguments(["--username", "me"], {})
    assert flags.login is not None
    assert flags.login.is_same("me", VALUE)
    shown = [flags, flags.login, webhook_address("", {}), vault.secret(vault.WEBHOOK_TOKEN)]
    assert VALUE not in f"{shown} {shown!r} {json.dumps(shown, default=str)}"


def test_a_job_gets_the_key_it_needs_and_no_other_secret(
    ring: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in vault.SECRETS:
        vault.keep(name, SecretStr(f"{VALUE} {name}"))
    request = JobRequest(job_name="train_network", config_toml="seed = 1", name="x")
    assert not any(VALUE in one for one in environment_for(RunFolder(tmp_path), request).values())
    tracked = request.model_copy(update={"config_toml": 'log_with = "wandb"'})
    variables = environment_for(RunFolder(tmp_path), tracked)
    assert [name for name, one in variables.items() if VALUE in one] == [vault.WANDB_KEY]
    assert VALUE not in tracked.model_dump_json()
    monkeypatch.setenv(vault.WANDB_KEY, VALUE)
    assert vault.WANDB_KEY not in environment_for(RunFolder(tmp_path), request)
    everywhere = request.model_copy(update={"config_toml": "[a]\nlog_with = 'all'"})
    assert environment_for(RunFolder(tmp_path), everywhere)[vault.WANDB_KEY] == VALUE


@pytest.mark.parametrize(
    ("config_toml", "gets"),
    [
        ('[logging]\n"log_with" = "wandb" # numbers', True),
        ('log_with = """all"""', True),
        ('# log_with = "wandb"', False),
        ('training_comment = """\nlog_with = "wandb"\n"""', False),
        ('log_with = "tensorboard"', False),
        ('log_with = ["wandb"]', False),
        ('log_with = "wandb"\nseed = =', False),
        ("x = " + "[" * 5000, False),
    ],
)
def test_a_key_goes_where_the_job_as_it_is_read_asks_for_it(
    ring: InMemory, tmp_path: Path, config_toml: str, gets: bool
) -> None:
    vault.keep(vault.WANDB_KEY, SecretStr(VALUE))
    request = JobRequest(job_name="train_network", config_toml=config_toml, name="x")
    assert (vault.WANDB_KEY in environment_for(RunFolder(tmp_path), request)) is gets


def test_a_keyring_that_is_shut_is_told_where_it_is_needed(
    ring: InMemory, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    ring.shut = True
    tracked = JobRequest(job_name="train_network", config_toml='log_with = "wandb"', name="x")
    run = RunFolder(workspace.path)
    assert vault.WANDB_KEY not in environment_for(run, tracked)  # `wandb login` may have left one
    assert "does not answer for WANDB_API_KEY" in run.log.read_text("utf-8")
    with pytest.raises(UserError, match="does not answer"):
        parse_arguments(["--username", "me"], {})
    with pytest.raises(UserError, match="does not answer"):
        vault.keep(vault.WEBHOOK, SecretStr(VALUE))
    with pytest.raises(UserError, match="does not answer"):
        webhook_address("http://a")
    assert VALUE not in capsys.readouterr().err


def test_a_start_waits_for_the_keyring_only_shortly(
    ring: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()
    monkeypatch.setattr(launch, "_KEYRING_SECONDS", 0.01)
    monkeypatch.setattr(ring, "get_password", lambda *_: opened.wait(60) and None)
    tracked = JobRequest(job_name="train_network", config_toml='log_with = "all"', name="x")
    began = time.monotonic()
    assert vault.WANDB_KEY not in environment_for(RunFolder(tmp_path), tracked)
    assert time.monotonic() - began < vault.PATIENCE_SECONDS / 2
    opened.set()


def test_whatever_a_keyring_raises_is_told(ring: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'elsewhere'")

    monkeypatch.setattr(ring, "get_password", broken)
    with pytest.raises(UserError, match=r"does not answer .*ModuleNotFoundError"):
        vault.secret(vault.WEBHOOK, {})
    monkeypatch.setattr(keyring, "get_keyring", broken)
    found = vault.look_at_keyring()
    assert found.state == "closed"
    assert "ModuleNotFoundError" in found.reason


def test_a_password_keeps_its_blanks(ring: InMemory) -> None:
    padded = SecretStr(" x ")
    assert vault.secret(vault.PASSWORD, {vault.PASSWORD: " x "}) == padded
    vault.keep(vault.PASSWORD, padded)
    assert vault.secret(vault.PASSWORD, {}) == padded


def test_a_keyring_that_waits_for_its_owner_keeps_nobody_waiting(
    ring: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()
    monkeypatch.setattr(vault, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(ring, "get_password", lambda *_: opened.wait(60) and None)
    with pytest.raises(UserError, match="does not answer for KOHYA_GUI_WEBHOOK"):
        vault.secret(vault.WEBHOOK, {})
    opened.set()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A desktop's keyring that shows a window when it is only looked at, and nobody is there."""
    opened = threading.Event()
    monkeypatch.setattr(vault, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(keyring, "get_keyring", lambda: opened.wait(60) and None)
    yield
    opened.set()


def test_a_keyring_that_waits_when_looked_at_hangs_nothing_and_is_told(
    ring: InMemory, silent: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vault.look_at_keyring().state == "silent"
    with pytest.raises(UserError, match="does not answer for KOHYA_GUI_PASSWORD"):
        parse_arguments(["--username", "me"], {})
    for ask in (lambda: vault.keep(vault.WEBHOOK, SecretStr(VALUE)), lambda: vault.forget("x")):
        with pytest.raises(UserError):
            ask()
    assert vault.secret(vault.WEBHOOK, {vault.WEBHOOK: "http://a"}) == SecretStr("http://a")
    assert main(["secret"]) == EXIT_OK
    shown = capsys.readouterr().out
    assert "does not answer" in shown
    assert "WANDB_API_KEY: unknown" in shown


def test_what_never_answers_gathers_no_threads(ring: InMemory, silent: None) -> None:
    before = threading.active_count()
    for _ in range(20):
        assert vault.look_at_keyring().state == "silent"
    assert threading.active_count() - before <= 8


def test_without_a_keyring_the_environment_still_serves(
    ring: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without a desktop: the library has nothing but a keyring that refuses."""
    keyring.set_keyring(NoKeyring())
    assert vault.look_at_keyring().state == "closed"
    assert vault.secret(vault.WEBHOOK, {}) is None
    assert vault.secret(vault.WEBHOOK, {vault.WEBHOOK: "http://a"}) == SecretStr("http://a")
    with pytest.raises(UserError) as caught:
        vault.keep(vault.WEBHOOK, SecretStr(VALUE))
    assert "variable" in str(caught.value.problems[0].hint)


def test_without_the_package_it_is_said_how_to_add_it(
    ring: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "keyring", types.ModuleType("keyring"))
    assert vault.look_at_keyring().state == "missing"
    assert vault.secret(vault.WEBHOOK, {}) is None
    with pytest.raises(UserError) as caught:
        vault.forget(vault.WEBHOOK)
    assert "--extras keyring" in str(caught.value.problems[0].hint)


def test_the_command_keeps_and_forgets_and_shows_nothing(
    ring: InMemory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*words: str, typed: str = "", code: int = EXIT_OK) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert main(["secret", *words]) == code
        captured = capsys.readouterr()
        return captured.out + captured.err

    kept = said("--keep", "WANDB_API_KEY", typed=f"{VALUE}\n")
    listed = said() + said("--json")
    assert ring.kept == {("kohya_gui", "WANDB_API_KEY"): VALUE}
    assert "WANDB_API_KEY: keyring" in listed
    assert "KOHYA_GUI_PASSWORD: nowhere" in listed
    assert VALUE not in kept + listed
    assert "no secret PATH" in said("--keep", "PATH", typed="x", code=EXIT_USER)
    assert "empty" in said("--keep", "WANDB_API_KEY", code=EXIT_USER)
    assert "taken out" in said("--forget", "WANDB_API_KEY")
    assert "was not" in said("--forget", "WANDB_API_KEY")
    assert ring.kept == {}
