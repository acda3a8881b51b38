"""Looks in the background: shared, kept while fresh, told when they fail, dropped when unwanted."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kohya_gui.forms import scans as module
from kohya_gui.forms.scans import Progress, Scan, Scans
from sd_scripts.errors import UserError

LONG = 10.0


def until_done(scans: Scans, key: str, work: Any) -> Scan:
    for _ in range(200):
        scan = scans.look(key, work, wait=0.05)
        if scan.state != "working":
            return scan
    raise AssertionError("the look never ended")


def test_a_quick_look_is_done_at_once() -> None:
    scan = Scans().look("a", lambda _: 42, wait=LONG)
    assert (scan.state, scan.found) == ("done", 42)


def test_a_look_is_done_once_for_all_who_ask() -> None:
    scans, calls = Scans(), []
    for _ in range(3):
        scans.look("a", lambda _: calls.append(1), wait=LONG)
    assert calls == [1]


def test_a_long_look_tells_how_far_it_is() -> None:
    scans, go, told = Scans(), threading.Event(), threading.Event()

    def work(progress: Progress) -> str:
        progress("reading", 3, 10)
        told.set()
        go.wait(LONG)
        return "found"

    scans.look("a", work, wait=0)
    assert told.wait(LONG)
    scan = scans.look("a", work, wait=0)
    assert (scan.state, scan.doing, scan.done, scan.total) == ("working", "reading", 3, 10)
    go.set()
    assert until_done(scans, "a", work).found == "found"


def test_a_mistake_of_the_user_comes_back_as_problems() -> None:
    def work(progress: Progress) -> None:
        raise UserError("no such file", option="vae", hint="choose another")

    scan = Scans().look("a", work, wait=LONG)
    assert scan.state == "failed"
    assert [problem.option for problem in scan.problems] == ["vae"]


def test_a_fault_of_ours_is_told_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def work(progress: Progress) -> None:
        raise ZeroDivisionError("oops")

    scan = Scans().look("a", work, wait=LONG)
    assert scan.state == "failed"
    assert "fault of this program" in scan.problems[0].message
    assert "ZeroDivisionError: oops" in capsys.readouterr().err


def test_a_failed_look_is_tried_again_on_wish() -> None:
    scans, answers = Scans(), iter([OSError("unplugged"), None])

    def work(progress: Progress) -> str:
        if (answer := next(answers)) is not None:
            raise answer
        return "there"

    assert scans.look("a", work, wait=LONG).state == "failed"
    assert scans.look("a", work, wait=LONG).state == "failed"
    scans.forget("a")
    assert until_done(scans, "a", work).found == "there"


def test_what_is_old_is_shown_while_it_is_looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    scans, go, numbers = Scans(), threading.Event(), iter([1, 2])

    def work(progress: Progress) -> int:
        number = next(numbers)
        if number == 2:
            go.wait(LONG)
        return number

    assert scans.look("a", work, wait=LONG).found == 1
    monkeypatch.setattr(module, "FRESH_SECONDS", -1.0)
    scan = scans.look("a", work, wait=0)
    assert (scan.state, scan.found) == ("done", 1)
    monkeypatch.setattr(module, "FRESH_SECONDS", 1000.0)
    go.set()
    for _ in range(200):
        if scans.look("a", work, wait=0.05).found == 2:
            return
    raise AssertionError("the new result never came")


def test_a_look_nobody_waits_for_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    scans, go, ended = Scans(), threading.Event(), threading.Event()

    def work(progress: Progress) -> str:
        go.wait(LONG)
        try:
            progress("reading", 1, 2)
        finally:
            ended.set()
        return "too late"

    scans.look("a", work, wait=0)
    monkeypatch.setattr(module, "UNWANTED_SECONDS", -1.0)
    go.set()
    assert ended.wait(LONG)
    monkeypatch.setattr(module, "UNWANTED_SECONDS", 1000.0)
    assert until_done(scans, "a", lambda _: "anew").found == "anew"


def test_only_the_last_looks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNWANTED_SECONDS", -1.0)
    assert_kept(module.NUM_KEPT)


def test_what_is_asked_for_is_kept_within_bounds() -> None:
    assert_kept(module.MOST_KEPT)


def assert_kept(number: int) -> None:
    """Look at `number` things and look again, then at one more."""
    scans, calls = Scans(), []

    def look(key: int) -> None:
        scans.look(key, lambda _: calls.append(key), wait=LONG)

    for key in (*range(number), *range(number)):
        look(key)
    assert calls == list(range(number))
    look(number)
    look(0)
    assert calls[number:] == [number, 0]
