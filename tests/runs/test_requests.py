"""Stop, save, sample and pause reach the trainer, and are acknowledged."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from sd_scripts.runs import requests as module
from sd_scripts.runs.control import is_requested, request, withdraw
from sd_scripts.runs.events import ControlEvent, read_events
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.reporter import Reporter
from sd_scripts.runs.requests import Requests, StopRequested


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "test", "")


@pytest.fixture
def requests(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Requests:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.0)
    return Requests(run, Reporter(run.events))


def told(run: RunFolder) -> list[tuple[str, str]]:
    events, _ = read_events(run.events)
    return [(e.request, e.state) for e in events if isinstance(e, ControlEvent)]


def test_stop_file(run: RunFolder, requests: Requests) -> None:
    assert not requests.stop()
    request(run, "stop")
    assert requests.stop()
    with pytest.raises(StopRequested):
        requests.raise_if_stopped()
    requests.acknowledge_stop()
    assert is_requested(run, "stop")
    requests.clear()
    assert not is_requested(run, "stop")
    assert told(run) == [("stop", "accepted"), ("stop", "done")]


def test_a_look_sees_what_was_asked_just_now(run: RunFolder) -> None:
    """The folder was looked at a moment ago: that must not hide what came since."""
    requests = Requests(run, Reporter(run.events))
    requests.look()
    request(run, "stop")
    requests.look()
    assert requests.stop()


def test_a_signal_is_a_stop(requests: Requests) -> None:
    with requests.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert requests.stop()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_save_is_due_until_done(run: RunFolder, requests: Requests) -> None:
    request(run, "save")
    assert requests.due("save")
    assert not requests.due("sample")
    requests.done("save")
    assert not requests.due("save")
    request(run, "save")
    assert requests.due("save")
    assert told(run) == [("save", "accepted"), ("save", "done"), ("save", "accepted")]


def test_pause_waits_until_it_is_withdrawn(run: RunFolder, requests: Requests) -> None:
    assert not requests.wait_while_paused()
    request(run, "pause")
    timer = threading.Timer(0.3, withdraw, (run, "pause"))
    timer.start()
    assert requests.wait_while_paused()
    assert not is_requested(run, "pause")
    assert told(run)[-1] == ("pause", "done")


def test_stop_ends_a_pause(run: RunFolder, requests: Requests) -> None:
    request(run, "pause")
    threading.Timer(0.2, request, (run, "stop")).start()
    assert requests.wait_while_paused()
    assert requests.stop()
