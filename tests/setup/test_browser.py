"""Finding a browser, and bringing one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.setup import browser
from tools.setup.console import Outcome, SetupError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="makes shell scripts")


@pytest.fixture(autouse=True)
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's own browser."""
    monkeypatch.delenv(browser.BROWSER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(browser, "usual_places", lambda _system: [])


def program(folder: Path, name: str, code: int = 0) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\nexit {code}\n")
    file.chmod(0o755)
    return file


def test_the_path_is_searched_and_a_stub_that_fails_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "chromium", code=1)
    chrome = program(tmp_path, "google-chrome")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert browser.find_browser() == os.fspath(chrome)


def test_the_variable_wins_and_must_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = program(tmp_path, "mine")
    monkeypatch.setenv(browser.BROWSER_VARIABLE, os.fspath(mine))
    assert browser.find_browser() == os.fspath(mine)
    monkeypatch.setenv(browser.BROWSER_VARIABLE, os.fspath(tmp_path / "absent"))
    assert browser.find_browser() is None
    with pytest.raises(SetupError, match="absent"):
        browser.ensure_browser(Path(sys.executable))


def test_usual_places_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = program(tmp_path, "Chromium")
    monkeypatch.setattr(browser, "usual_places", lambda _system: [tmp_path / "no", place])
    assert browser.find_browser() == os.fspath(place)


def bringing(monkeypatch: pytest.MonkeyPatch, root: bool) -> list[list[str]]:
    """Record the programs that are run to bring a browser; Playwright's download fails."""
    commands: list[list[str]] = []

    def ask(command: Sequence[str], *_more: object, **_named: object) -> Outcome:
        if "install" in command:
            commands.append(list(command))
        return Outcome(0 if command[-1] == "--version" else 1)

    monkeypatch.setattr(browser, "ask", ask)
    monkeypatch.setattr(browser, "run", lambda command, _env: commands.append(list(command)))
    monkeypatch.setattr(browser, "may_use_apt", lambda: root)
    return commands


def test_none_at_all_is_a_clear_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = bringing(monkeypatch, root=False)
    with pytest.raises(SetupError) as caught:
        browser.ensure_browser(Path("python"))
    assert "Install Chromium or Chrome" in caught.value.remedy
    assert [command[1:] for command in commands] == [["-m", "playwright", "install", "chromium"]]


def test_debians_package_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = bringing(monkeypatch, root=True)
    places: list[Path] = []
    monkeypatch.setattr(browser, "usual_places", lambda _system: places)

    def install(command: Sequence[str], _env: object) -> None:
        commands.append(list(command))
        if command[-1] == "chromium":
            places.append(program(tmp_path, "chromium"))

    monkeypatch.setattr(browser, "run", install)
    assert browser.ensure_browser(Path("python")) == os.fspath(tmp_path / "chromium")
    assert [command[:2] for command in commands] == [
        ["python", "-m"],
        ["apt-get", "update"],
        ["apt-get", "install"],
    ]
