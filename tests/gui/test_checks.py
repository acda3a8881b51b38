"""Checks: a process beside the page whose words and end are told, and that ends with the page."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from kohya_gui import checks as module
from kohya_gui.checks import Checks
from kohya_gui.jobs.launch import JOB_MODULES
from kohya_gui.workspace import Workspace, open_workspace
from sd_scripts.errors import UserError
from tests.support.patience import eventually, last_answer

# Modules of the standard library stand in for a trainer: one that prints and ends well whatever
# its arguments, one that refuses them with exit code 2, and one that is not there (exit code 1).
GOOD, BAD, CRASHES = "this", "json.tool", "no_such_module_at_all"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "work")


def ended(checks: Checks, name: str) -> dict[str, Any]:
    return last_answer(lambda: checks.look(name), lambda look: look["state"] != "working")


@pytest.mark.parametrize(
    ("stand_in", "state", "words"),
    [(GOOD, "good", "Beautiful"), (BAD, "bad", "usage"), (CRASHES, "crashed", "No module named")],
)
def test_the_end_of_a_check_is_told_by_its_exit_code(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, stand_in: str, state: str, words: str
) -> None:
    monkeypatch.setitem(JOB_MODULES, "fake", stand_in)
    checks = Checks(workspace)
    name = checks.start("fake", "seed = 1\n")
    look = ended(checks, name)
    assert look["state"] == state
    assert words in look["text"]
    assert (workspace.path / "checks" / name / "config.toml").read_text() == "seed = 1\n"
    checks.close()


@pytest.mark.parametrize("name", ["", "none", "../runs", "0" * 16])
def test_a_check_that_is_none_is_gone(workspace: Workspace, name: str) -> None:
    assert Checks(workspace).look(name)["state"] == "gone"


def test_a_check_can_be_cancelled_and_too_many_are_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sleeper.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(JOB_MODULES, "fake", "sleeper")
    monkeypatch.setattr(module, "MAX_AT_ONCE", 1)
    checks = Checks(workspace)
    name = checks.start("fake", "")
    with pytest.raises(UserError, match="at work already"):
        checks.start("fake", "")
    checks.cancel(name)
    assert ended(checks, name)["state"] == "crashed"
    another = checks.start("fake", "")
    checks.close()
    assert checks.look(another)["state"] == "crashed"


def test_only_old_checks_are_removed(workspace: Workspace) -> None:
    folder = workspace.path / "checks"
    old, young, other = folder / ("a" * 16), folder / ("b" * 16), folder / "mine"
    for place in (old, young, other):
        place.mkdir(parents=True)
        (place / "check.log").write_text("x")
    long_ago = time.time() - 2 * module.KEPT_SECONDS
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    Checks(workspace)
    assert sorted(path.name for path in folder.iterdir()) == ["b" * 16, "mine"]


def test_a_check_that_ended_long_ago_is_let_go(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(JOB_MODULES, "fake", GOOD)
    checks = Checks(workspace)
    first = checks.start("fake", "")
    ended(checks, first)
    second = checks.start("fake", "")
    assert checks.look(first)["state"] == "good"
    ended(checks, second)
    monkeypatch.setattr(module, "KEPT_SECONDS", -1.0)
    third = checks.start("fake", "")
    assert [checks.look(one)["state"] for one in (first, second)] == ["gone", "gone"]
    assert [path.name for path in (workspace.path / "checks").iterdir()] == [third]
    checks.close()


@pytest.mark.skipif(os.name != "posix", reason="a signal that is not heeded")
def test_a_check_that_heeds_nothing_does_not_keep_the_program_open(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deaf = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\n"
    (tmp_path / "deaf.py").write_text(f"{deaf}time.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(JOB_MODULES, "fake", "deaf")
    monkeypatch.setattr(module, "END_SECONDS", 0.1)
    checks = Checks(workspace)
    name = checks.start("fake", "")
    assert eventually(lambda: "deaf" in checks.look(name)["text"])
    checks.close()
    assert checks.look(name)["state"] == "crashed"
