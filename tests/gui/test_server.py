"""The real server: files only from declared folders, everything behind the login, no outside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kohya_gui.app import launch
from kohya_gui.arguments import parse_arguments
from kohya_gui.context import make_context
from kohya_gui.quick_gradio import gr

LOGIN = ("me", "the secret")


class Served:
    """A running page with its workspace."""

    def __init__(self, folder: Path, flags: list[str]) -> None:
        self.context = make_context(folder / "work", None)
        self.blocks: gr.Blocks
        arguments = parse_arguments(["--server_port", str(free_port()), *flags], {})
        self.blocks, self.address = launch(self.context, arguments)
        self.run_file = self.context.workspace.runs / "mycat" / "samples" / "a.txt"
        self.run_file.parent.mkdir(parents=True)
        self.run_file.write_text("of the run")
        self.outside = folder / "outside.txt"
        self.outside.write_text("private")

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, trust_env=False, timeout=30)

    def close(self) -> None:
        self.context.close()
        self.blocks.close(verbose=False)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    page = Served(tmp_path_factory.mktemp("open"), [])
    yield page
    page.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    flags = ["--username", LOGIN[0], "--password", LOGIN[1]]
    page = Served(tmp_path_factory.mktemp("guarded"), flags)
    yield page
    page.close()


PAGES = ("", "lora", "runs", "settings")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_served(served: Served, page: str) -> None:
    with served.client() as client:
        answer = client.get(f"/{page}")
    assert answer.status_code == 200
    assert "kg-nav" in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_no_page_fetches_anything_from_elsewhere(served: Served, page: str) -> None:
    with served.client() as client:
        text = client.get(f"/{page}").text
    fetched = re.findall(r"(?:<script[^>]+src|<link[^>]+href)=\"(https?:[^\"]+)", text)
    assert [url for url in fetched if not url.startswith(served.address)] == []
    assert "fonts.googleapis" not in text


@pytest.mark.parametrize("route", ["/gradio_api/file=", "/gradio_api/file/"])
def test_only_files_of_runs_are_given_out(served: Served, route: str) -> None:
    workspace = served.context.workspace
    (workspace.path / "settings.json").write_text("{}")
    draft = workspace.drafts / "0123456789abcdef.json"
    draft.write_text("{}")
    with served.client() as client:
        assert client.get(f"{route}{served.run_file}").text == "of the run"
        for private in (served.outside, draft, workspace.settings, Path("/etc/passwd")):
            assert client.get(f"{route}{private}").status_code in (403, 404)
        sneaky = served.run_file.parent / ".." / ".." / ".." / "settings.json"
        assert client.get(f"{route}{sneaky}").status_code in (403, 404)


def test_a_link_in_a_run_leads_nowhere_outside(served: Served) -> None:
    link = served.run_file.parent / "link.txt"
    link.symlink_to(served.outside)
    with served.client() as client:
        answer = client.get(f"/gradio_api/file={link}")
    assert answer.status_code in (403, 404)
    assert "private" not in answer.text


def test_nothing_of_gradios_own_extras_is_open(served: Served) -> None:
    with served.client() as client:
        for path in ("/monitoring", "/monitoring/summary", "/gradio_api/runs", "/gradio_api/mcp"):
            assert client.get(path).status_code in (401, 403, 404, 405), path


def test_without_a_login_there_is_only_the_login(guarded: Served) -> None:
    with guarded.client() as client:
        page = client.get("/lora").text
        assert '"auth_required": true' in page or '"auth_required":true' in page
        assert "opt-learning_rate" not in page
        assert client.get(f"/gradio_api/file={guarded.run_file}").status_code == 401
        assert client.get("/gradio_api/info").status_code == 401
        body = {"component_id": 1, "fn_name": "overview", "data": None, "session_hash": "x"}
        assert client.post("/gradio_api/component_server", json=body).status_code == 401
        call = {"fn_index": 0, "data": [], "session_hash": "x"}
        assert client.post("/gradio_api/run/predict", json=call).status_code == 401
        assert client.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401


def test_the_login_opens_pages_and_files(guarded: Served) -> None:
    with guarded.client() as client:
        wrong = {"username": LOGIN[0], "password": "guess"}
        assert client.post("/login", data=wrong).status_code == 400
        right = {"username": LOGIN[0], "password": LOGIN[1]}
        assert client.post("/login", data=right).status_code == 200
        assert "opt-learning_rate" in client.get("/lora").text
        assert client.get(f"/gradio_api/file={guarded.run_file}").text == "of the run"
        assert client.get(f"/gradio_api/file={guarded.outside}").status_code in (403, 404)


def test_the_password_is_in_no_page(guarded: Served) -> None:
    with guarded.client() as client:
        client.post("/login", data={"username": LOGIN[0], "password": LOGIN[1]})
        for page in PAGES:
            assert LOGIN[1] not in client.get(f"/{page}").text
    config = json.dumps(guarded.blocks.config, default=str)
    assert LOGIN[1] not in config


def test_another_sites_script_gets_no_answer(served: Served) -> None:
    call = {"fn_index": 0, "data": [], "session_hash": "x"}
    with served.client() as client:
        answer = client.post(
            "/gradio_api/run/predict", json=call, headers={"Origin": "https://elsewhere.example"}
        )
        text = {"Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site"}
        form = client.post("/gradio_api/component_server", content="{}", headers=text)
    assert answer.status_code == form.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
