"""The end of a run is posted once, to the user's address only; no fault stops anything."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from kohya_gui.jobs import notify
from kohya_gui.jobs.notify import Notifier, post, webhook_address, wrong_address
from kohya_gui.jobs.store import RunStore
from kohya_gui.workspace import Workspace, open_workspace
from sd_scripts.errors import UserError
from sd_scripts.runs.events import EndEvent, EventWriter
from sd_scripts.runs.folder import RunFolder
from tests.support.pages import make_run


class Receiver:
    """A server of somebody's own that takes messages, or answers with another status."""

    def __init__(self, status: int = 200) -> None:
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                receiver.got.append((dict(self.headers), json.loads(self.rfile.read(length))))
                self.send_response(status)
                if status in (301, 307):
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/secret-path"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def quiet(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "work")


def end(run: RunFolder) -> None:
    with EventWriter(run.events) as events:
        events.emit(EndEvent(status="failed", reason="Out of memory."))
    run.run_json.write_text(run.run_json.read_text().replace('"pid":', '"pid_":'))


def test_two_programs_look_and_one_tells(quiet: Workspace, receiver: Receiver) -> None:
    run = make_run(quiet.path, "mycät")
    old = make_run(quiet.path, "old", alive=False)
    lookers = [Notifier(RunStore(quiet), lambda: SecretStr(receiver.address)) for _ in range(2)]
    for looker in lookers:
        looker.look()
    end(run)
    for looker in lookers * 2:
        looker.look()
        looker.finish()
    [(headers, message)] = receiver.got
    assert headers["Content-Type"] == "application/json"
    assert message["event"] == "run_ended"
    assert message["run"]["run"] == run.id
    assert message["run"]["state"] == "failed"
    assert "mycät" in message["text"]
    assert not (old.control / "told").exists()


def test_without_an_address_nothing_is_posted_or_written(quiet: Workspace) -> None:
    run = make_run(quiet.path, "mycat")
    notifier = Notifier(RunStore(quiet), lambda: None)
    notifier.look()
    end(run)
    notifier.look()
    notifier.finish()
    assert not (run.control / "told").exists()


def test_what_a_shut_keyring_held_back_is_told_later(
    quiet: Workspace, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_in: list[threading.Thread] = []
    shut = True

    def address() -> SecretStr:
        asked_in.append(threading.current_thread())
        if shut:
            raise UserError("The keyring does not answer.")
        return SecretStr(receiver.address)

    monkeypatch.setattr(notify, "AGAIN_SECONDS", 0.0)
    run = make_run(quiet.path, "mycat")
    notifier = Notifier(RunStore(quiet), address)
    notifier.look()
    end(run)
    notifier.look()
    notifier.finish()
    assert "does not answer" in str(notifier.problem)
    assert not (run.control / "told").exists()
    assert threading.current_thread() not in asked_in
    shut = False
    for _ in range(2):
        notifier.look()
        notifier.finish()
    assert [message["run"]["run"] for _, message in receiver.got] == [run.id]
    assert notifier.problem is None


def test_a_fault_is_told_without_the_address(
    quiet: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = Receiver(status=500)
    try:
        run = make_run(quiet.path, "mycat")
        notifier = Notifier(RunStore(quiet), lambda: SecretStr(receiver.address))
        notifier.look()
        end(run)
        notifier.look()
        notifier.finish()
    finally:
        receiver.close()
    told = capsys.readouterr().err
    assert "500" in told
    assert "secret" not in told
    assert notifier.problem is not None


@pytest.mark.parametrize("status", [301, 307, 404])
def test_nothing_but_the_address_itself_is_told(status: int) -> None:
    receiver = Receiver(status=status)
    try:
        assert str(status) in str(post(SecretStr(receiver.address), {"event": "test"}))
    finally:
        receiver.close()
    assert len(receiver.got) == 1


def test_nobody_there_is_told_in_words(receiver: Receiver) -> None:
    receiver.close()
    said = post(SecretStr(receiver.address), {})
    assert said
    assert "secret" not in said
    assert post(SecretStr("file:///etc/passwd"), {})
    assert post(SecretStr("http://["), {})


def test_the_token_comes_from_the_environment(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOHYA_GUI_WEBHOOK_TOKEN", "the token")
    assert post(SecretStr(receiver.address), {}) is None
    assert receiver.got[0][0]["Authorization"] == "Bearer the token"


def test_the_environments_address_wins() -> None:
    found = webhook_address("http://a", {"KOHYA_GUI_WEBHOOK": " http://b "})
    assert found == SecretStr("http://b")
    assert "http" not in f"{found} {found!r}"
    assert webhook_address(" http://a ", {}) == SecretStr("http://a")
    assert webhook_address("", {}) is None


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://x", "x", "http://", "javascript:x"]
)
def test_what_is_no_address_is_known(address: str) -> None:
    assert wrong_address(address)
    assert not wrong_address("https://example.org/hook")
