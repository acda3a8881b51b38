"""Doors, login and pages work below a path that a proxy keeps; the owner is not locked out."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Scope

from kohya_gui import login
from kohya_gui.delivery import KEEP, KeptFiles
from kohya_gui.doors import Doors
from kohya_gui.login import MAX_FAILURES, THIS_MACHINE, Attempts, LoginLimit, client_of


def client(root_path: str) -> TestClient:
    async def wrong(request: object) -> PlainTextResponse:
        return PlainTextResponse("wrong", 400)

    async def answer(request: object) -> PlainTextResponse:
        return PlainTextResponse("done")

    app = Starlette(
        routes=[
            Route("/", answer),
            Route("/login", wrong, methods=["POST"]),
            Route("/lora", answer),
            Route("/upload", answer),
            Route("/assets/page-12345678.js", answer),
        ],
        middleware=[
            Middleware(KeptFiles),
            Middleware(Doors, ours=["/lora"]),
            Middleware(LoginLimit, attempts=Attempts()),
        ],
    )
    return TestClient(app, root_path=root_path)


@pytest.mark.parametrize(("root_path", "before"), [("", ""), ("/sd", "/sd"), ("/sd", "")])
def test_a_path_before_ours_changes_nothing(root_path: str, before: str) -> None:
    """A proxy may keep its path or take it away."""
    asking = client(root_path)
    assert asking.get(f"{before}/").text == "done"
    assert asking.get(f"{before}/lora").text == "done"
    assert asking.get(f"{before}/upload").status_code == 404
    kept = asking.get(f"{before}/assets/page-12345678.js")
    assert kept.headers["cache-control"] == KEEP
    codes = [asking.post(f"{before}/login").status_code for _ in range(MAX_FAILURES + 1)]
    assert codes[-2:] == [400, 429]


def asked_from(address: str, headers: Mapping[str, str] | None = None) -> Scope:
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return {"type": "http", "client": (address, 1), "headers": pairs}


def test_only_who_sits_at_this_machine_counts_as_that() -> None:
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert client_of(asked_from(address)) == THIS_MACHINE
    for header in ("x-forwarded-for", "forwarded", "x-real-ip"):
        assert client_of(asked_from("127.0.0.1", {header: "127.0.0.1"})) == "127.0.0.1"
    for address in ("192.0.2.1", "localhost", "", "::ffff:192.0.2.1"):
        assert client_of(asked_from(address)) == address


def test_guesses_from_everywhere_do_not_lock_the_owner_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(login, "MAX_FAILURES_OF_ALL", 3)
    attempts = Attempts()
    assert [attempts.begin(f"192.0.2.{n}") for n in range(4)] == [True, True, True, False]
    assert all(attempts.begin(THIS_MACHINE) for _ in range(MAX_FAILURES))
    assert not attempts.begin(THIS_MACHINE)
    attempts.was_right(THIS_MACHINE)
    assert attempts.begin(THIS_MACHINE)
    assert not attempts.begin("192.0.2.9")
