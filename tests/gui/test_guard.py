"""Other sites stay out: their posts are refused, and so are names that are not this machine's."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from kohya_gui.guard import Guard, host_name


def client(*, only_this_machine: bool) -> TestClient:
    async def answer(request: object) -> PlainTextResponse:
        return PlainTextResponse("done")

    app = Starlette(
        routes=[Route("/do", answer, methods=["GET", "POST"])],
        middleware=[Middleware(Guard, only_this_machine=only_this_machine)],
    )
    return TestClient(app, base_url="http://127.0.0.1:7860")


OWN = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://127.0.0.1:7860"},
    {"Origin": "https://me.example", "X-Forwarded-Host": "me.example"},
    {"Origin": "https://me.example", "Sec-Fetch-Site": "same-origin"},
]
OTHERS = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://[bad"},
    {"Origin": "https://evil.example", "X-Forwarded-Host": "me.example"},
    {"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", OWN)
def test_our_own_pages_and_programs_may_post(headers: dict[str, str]) -> None:
    assert client(only_this_machine=True).post("/do", headers=headers).text == "done"


@pytest.mark.parametrize("headers", OTHERS)
@pytest.mark.parametrize("only_this_machine", [True, False])
def test_pages_of_other_sites_may_not_post(
    headers: dict[str, str], only_this_machine: bool
) -> None:
    answer = client(only_this_machine=only_this_machine).post("/do", headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.text


def test_a_link_from_another_site_opens_the_page() -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client(only_this_machine=True).get("/do", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860", "127.9.9.9"]
)
def test_without_a_login_the_names_of_this_machine_work(host: str) -> None:
    answer = client(only_this_machine=True).get("/do", headers={"Host": host})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "192.0.2.7", "127.0.0.1.evil.example", "", "[bad"]
)
def test_without_a_login_other_names_are_refused_with_the_remedy(host: str) -> None:
    answer = client(only_this_machine=True).get("/do", headers={"Host": host})
    assert answer.status_code == 403
    assert "--username" in answer.text


def test_with_a_login_any_name_works() -> None:
    answer = client(only_this_machine=False).get("/do", headers={"Host": "me.example"})
    assert answer.status_code == 200


def test_host_names_are_read_without_port_and_brackets() -> None:
    assert host_name("Example:80") == "example"
    assert host_name("[::1]:80") == "::1"
