"""The words and flags of setup.sh, and what it says where no fitting Python is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.setup.small_world import PROJECT
from tools.setup import cli
from tools.setup.cli import HELP, WORDS, has_screen, parse
from tools.setup.console import SetupError
from tools.setup.install import Wishes, explain_pip


@pytest.fixture(autouse=True)
def no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KOHYA_TORCH", raising=False)


def test_without_a_word_everything_goes_to_the_gui() -> None:
    flags = ["--listen", "0.0.0.0", "--server_port", "7861"]
    assert parse(flags) == ("gui", Wishes(), flags)
    assert parse([]) == ("gui", Wishes(), [])


def test_set_ups_own_flags_are_taken_out_anywhere() -> None:
    got = parse(["test", "-k", "bucket", "--torch", "cpu", "--extras", "8bit, trackers"])
    assert got == ("test", Wishes(("8bit", "trackers"), "cpu"), ["-k", "bucket"])
    assert parse(["gui", "--", "--headless"]) == ("gui", Wishes(), ["--headless"])


def test_the_variable_chooses_torch_unless_the_flag_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOHYA_TORCH", "cu126")
    assert parse([])[1].torch == "cu126"
    assert parse(["--torch", "cpu"])[1].torch == "cpu"


@pytest.mark.parametrize(
    ("argv", "remedy"),
    [
        (["doctr"], "Did you mean doctor?"),
        (["install", "--extras", "tracker"], "Did you mean trackers?"),
        (["install", "--torch"], "--help"),
    ],
)
def test_slips_are_told_with_what_was_meant(argv: list[str], remedy: str) -> None:
    with pytest.raises(SetupError) as caught:
        parse(argv)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("system", "environment", "flags", "opens"),
    [
        ("Linux", {"DISPLAY": ":0"}, [], True),
        ("Linux", {"WAYLAND_DISPLAY": "wayland-0"}, ["--server_port", "1"], True),
        ("Linux", {}, [], False),
        ("Linux", {"DISPLAY": ":0"}, ["--headless"], False),
        ("Linux", {"DISPLAY": ":0"}, ["--inbrowser"], False),  # said already
        ("Windows", {}, [], True),
        ("Darwin", {"SSH_CONNECTION": "1"}, [], False),
    ],
)
def test_the_page_opens_where_there_is_a_screen(
    system: str,
    environment: dict[str, str],
    flags: list[str],
    opens: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli.platform, "system", lambda: system)
    assert has_screen(environment, flags) is opens


def test_the_help_names_every_word() -> None:
    assert parse(["--help"])[0] == parse(["help"])[0] == "help"
    assert all(f"{{starter}} {word}" in HELP for word in WORDS if word not in ("gui", "help"))


@pytest.mark.parametrize(
    ("log", "what"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM", "not the one that was pinned"),
        ("NewConnectionError: Temporary failure in name resolution", "cannot be reached"),
        ("CERTIFICATE_VERIFY_FAILED", "not trusted"),
        ("ERROR: No matching distribution found for x", "no fitting file"),
        ("something never seen", "code 1"),
    ],
)
def test_pips_troubles_become_words(tmp_path: Path, log: str, what: str) -> None:
    file = tmp_path / "install.log"
    file.write_text(log)
    error = explain_pip(file, 1)
    assert what in error.message
    assert os.fspath(file) in error.message
    assert error.remedy


@pytest.mark.skipif(sys.platform == "win32", reason="drives setup.sh")
class TestSetupSh:
    def run(self, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        shell = shutil.which("sh")
        assert shell is not None
        command = [shell, os.fspath(PROJECT / "setup.sh"), "help"]
        env = {"PATH": os.fspath(path)} | environment
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def tools(self, folder: Path, *, python: str | None = None) -> Path:
        """Make a PATH that has what the script needs, and at most one kind of Python."""
        for name in ("dirname", "sh"):
            (folder / name).symlink_to(str(shutil.which(name)))
        if python is not None:
            (folder / "python3").write_text(f"#!/bin/sh\n{python}\n")
            (folder / "python3").chmod(0o755)
        return folder

    def test_no_python(self, tmp_path: Path) -> None:
        done = self.run(self.tools(tmp_path))
        assert done.returncode == 2
        assert "no Python at all" in done.stderr
        assert "apt install" in done.stderr

    def test_a_python_of_the_wrong_age(self, tmp_path: Path) -> None:
        old = 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi'
        done = self.run(self.tools(tmp_path, python=old))
        assert done.returncode == 2
        assert "this computer has: Python 3.9.2" in done.stderr

    def test_a_python_named_by_hand(self, tmp_path: Path) -> None:
        folder = self.tools(tmp_path)
        assert self.run(folder, KOHYA_PYTHON=sys.executable).returncode == 0
        done = self.run(folder, KOHYA_PYTHON="/nowhere/python3")
        assert done.returncode == 2
        assert "/nowhere/python3 is no Python" in done.stderr


def test_setup_bat_hands_over_like_setup_sh() -> None:
    text = (PROJECT / "setup.bat").read_bytes()
    assert text.count(b"\r\n") == text.count(b"\n"), "cmd.exe needs CR LF"
    lines = text.decode("ascii").splitlines()
    gotos = {line.rsplit("goto ", 1)[1] for line in lines if "goto " in line}
    labels = {line[1:] for line in lines if line.startswith(":")}
    assert gotos == labels
    assert sum('"%~dp0tools\\setup" %*' in line for line in lines) == 6
