"""The flags: what opens the page to others needs a login, and a taken port is told in words."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from kohya_gui import arguments
from kohya_gui.arguments import Login, choose_port, is_loopback, parse_arguments
from sd_scripts.errors import UserError

ROOT = Path(arguments.__file__).resolve().parent.parent


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def test_without_flags_only_this_machine_gets_in() -> None:
    found = parse_arguments([], {})
    assert found.host == "127.0.0.1"
    assert found.login is None
    assert not found.is_open_to_others


@pytest.mark.parametrize("flags", [["--listen"], ["--listen", "0.0.0.0"], ["--listen", "::"]])
def test_listening_without_a_login_is_refused(flags: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse_arguments(flags, {})
    problem = caught.value.problems[0]
    assert problem.option == "listen"
    assert "--username" in (problem.hint or "")


def test_sharing_without_a_login_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        parse_arguments(["--share"], {})
    assert caught.value.problems[0].option == "share"


@pytest.mark.parametrize("half", [["--username", "me"], ["--password", "secret"]])
def test_half_a_login_is_refused_even_at_home(half: list[str]) -> None:
    with pytest.raises(UserError, match="needs a name and a password"):
        parse_arguments(half, {})


def test_a_password_of_the_environment_without_a_name_is_refused() -> None:
    with pytest.raises(UserError, match="the username is missing"):
        parse_arguments([], {"KOHYA_GUI_PASSWORD": "secret"})
    padded = parse_arguments(["--username", "me"], {"KOHYA_GUI_PASSWORD": " x "}).login
    assert padded == Login("me", SecretStr(" x "))


def test_a_login_may_come_from_the_environment() -> None:
    login = {"KOHYA_GUI_USERNAME": "me", "KOHYA_GUI_PASSWORD": "secret"}
    found = parse_arguments(["--listen"], login)
    assert found.host == "0.0.0.0"
    assert found.login is not None
    assert found.login.is_same("me", "secret")
    assert "secret" not in f"{found} {found!r} {found.login}"
    assert found.is_open_to_others


def test_a_flag_wins_over_the_environment() -> None:
    login = {"KOHYA_GUI_USERNAME": "me", "KOHYA_GUI_PASSWORD": "secret"}
    assert parse_arguments(["--username", "you"], login).login == Login("you", SecretStr("secret"))


def test_an_empty_password_is_no_password() -> None:
    with pytest.raises(UserError):
        parse_arguments(["--listen", "--username", "me", "--password", ""], {})


def test_listening_at_loopback_needs_no_login() -> None:
    assert parse_arguments(["--listen", "127.0.0.1"], {}).login is None


@pytest.mark.parametrize(
    ("host", "is_home"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("no such name.invalid", False),
    ],
)
def test_what_counts_as_this_machine(host: str, is_home: bool) -> None:
    assert is_loopback(host) is is_home


def test_headless_opens_no_browser() -> None:
    assert parse_arguments(["--inbrowser"], {}).inbrowser
    assert not parse_arguments(["--inbrowser", "--headless"], {}).inbrowser


def test_the_workspace_may_come_from_the_environment(tmp_path: Path) -> None:
    found = parse_arguments([], {"KOHYA_GUI_WORKSPACE": str(tmp_path)})
    assert found.workspace == tmp_path


def test_a_port_that_was_asked_for_and_is_taken_is_told(taken_port: int) -> None:
    with pytest.raises(UserError) as caught:
        choose_port("127.0.0.1", taken_port)
    problem = caught.value.problems[0]
    assert str(taken_port) in problem.message
    assert "--server_port" in (problem.hint or "")


def test_without_a_wish_the_next_free_port_is_taken_and_told(
    taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments, "FIRST_PORT", taken_port)
    port, note = choose_port("127.0.0.1", None)
    assert port > taken_port
    assert note is not None
    assert str(taken_port) in note
    assert str(port) in note


def test_when_all_ports_are_taken_it_says_so(
    taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments, "FIRST_PORT", taken_port)
    monkeypatch.setattr(arguments, "NUM_PORTS", 1)
    with pytest.raises(UserError, match="all in use"):
        choose_port("127.0.0.1", None)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_an_impossible_port_is_refused(port: int) -> None:
    with pytest.raises(UserError, match="is no port"):
        choose_port("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        choose_port("192.0.2.7", None)
    assert caught.value.problems[0].option == "listen"


def test_everything_wrong_is_told_at_once(taken_port: int) -> None:
    with pytest.raises(UserError) as caught:
        parse_arguments(["--share", "--server_port", str(taken_port)], {})
    assert [problem.option for problem in caught.value.problems] == ["share", "server_port"]


def test_the_command_refuses_quickly_with_exit_code_2(taken_port: int) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("KOHYA_GUI_")}
    ended = subprocess.run(
        [sys.executable, "-m", "kohya_gui", "--listen", "--server_port", str(taken_port)],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "Without a login it is refused" in ended.stderr
    assert f"Port {taken_port} is in use" in ended.stderr
    assert "Traceback" not in ended.stderr
