"""The real server: files only from declared folders, everything behind the login, no outside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from kohya_gui import login
from kohya_gui.app import addresses, launch
from kohya_gui.arguments import parse_arguments
from kohya_gui.context import make_context
from kohya_gui.doors import LARGEST_BODY, Doors
from kohya_gui.login import MAX_FAILURES
from kohya_gui.quick_gradio import gr
from kohya_gui.rest.routes import PREFIX
from tests.support.patience import PATIENCE_SECONDS

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
        return httpx.Client(base_url=self.address, trust_env=False, timeout=PATIENCE_SECONDS)

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


def test_only_files_of_runs_are_given_out(served: Served) -> None:
    route, workspace = "/gradio_api/file=", served.context.workspace
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


SHUT = (
    *("/monitoring", "/monitoring/summary", "/gradio_api/runs", "/gradio_api/mcp"),
    *("/gradio_api/token", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/cancel"),
    *("/gradio_api/queue/data", "/gradio_api/call/x", "/gradio_api/process_recording"),
    *("/gradio_api/proxy=https://x.hf.space/a", "/gradio_api/dev/reload", "/gradio_api/vibe-edit"),
    *("/gradio_api/heartbeat/x", "/gradio_api/info", "/gradio_api/user", "/gradio_api/reset"),
    *("/gradio_api/stream/x", "/gradio_api/deep_link", "/gradio_api/file/x", "/monitoring/x"),
    *("/gradio_api/file=http://192.0.2.1/x", "/gradio_api/file=HTTPS://192.0.2.1/x"),
)
OPEN = frozenset(
    (
        *("/config", "/login", "/logout", "/theme.css", "/favicon.ico", "/robots.txt"),
        *("/manifest.json", "/svelte/{path:path}", "/static/{path:path}", "/assets/{path:path}"),
        *("/gradio_api/startup-events", "/gradio_api/app_id", "/gradio_api/theme.css"),
        *("/gradio_api/component_server", "/gradio_api/run/{api_name}"),
        "/gradio_api/file={path_or_url:path}",
    )
)


def paths_of(app: Any) -> Iterator[str]:
    """Return the path of every route, those of routers within it too."""
    for route in app.routes:
        if inner := getattr(route, "original_router", None):
            yield from paths_of(inner)
        else:
            yield str(route.path).rstrip("/") or "/"


@pytest.mark.parametrize("path", SHUT)
def test_nothing_of_gradios_own_extras_is_open(served: Served, path: str) -> None:
    with served.client() as client:
        for method in ("GET", "POST", "HEAD"):
            assert client.request(method, path).status_code == 404


def test_every_route_of_gradio_is_needed_or_shut(served: Served) -> None:
    """A new version may bring more; whoever opens one writes it down here."""
    ours = addresses()
    doors = Doors(served.blocks.app, ours)
    folders = tuple(path for path in ours if path.endswith("/") and path != "/")
    found = set(paths_of(served.blocks.app))
    opened = {path for path in found if doors.is_open(path) and not path.startswith(folders)}
    assert opened - {path.rstrip("/") or "/" for path in ours} == OPEN & found
    assert found >= OPEN


def test_a_body_that_is_too_large_is_refused(served: Served) -> None:
    def piled(size: int) -> Iterator[bytes]:
        for _ in range(size // 2**20):
            yield b" " * 2**20

    path, kind = "/gradio_api/component_server", {"Content-Type": "application/json"}

    def answered(content: bytes | Iterator[bytes]) -> int:
        try:
            with served.client() as client:
                return client.post(path, content=content, headers=kind).status_code
        except httpx.TransportError:  # it hung up before all was sent
            return 413

    assert answered(b" " * (LARGEST_BODY + 1)) == 413
    assert answered(piled(LARGEST_BODY + 2**21)) in (400, 413)
    with served.client() as client:
        assert client.get("/").status_code == 200


def test_no_other_site_may_frame_a_page(served: Served) -> None:
    with served.client() as client:
        answer = client.get("/lora")
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]


def test_without_a_login_there_is_only_the_login(guarded: Served) -> None:
    with guarded.client() as client:
        page = client.get("/lora").text
        assert '"auth_required": true' in page or '"auth_required":true' in page
        assert "opt-learning_rate" not in page
        assert client.get(f"/gradio_api/file={guarded.run_file}").status_code == 401
        assert client.get("/config").status_code == 401
        body = {"component_id": 1, "fn_name": "overview", "data": None, "session_hash": "x"}
        assert client.post("/gradio_api/component_server", json=body).status_code == 401
        call = {"fn_index": 0, "data": [], "session_hash": "x"}
        assert client.post("/gradio_api/run/predict", json=call).status_code == 401
        assert client.post("/gradio_api/upload", files={"files": b"x"}).status_code == 404


def test_the_login_opens_pages_and_files(guarded: Served) -> None:
    with guarded.client() as client:
        wrong = {"username": LOGIN[0], "password": "guess"}
        assert client.post("/login", data=wrong).status_code == 400
        right = {"username": LOGIN[0], "password": LOGIN[1]}
        assert client.post("/login", data=right).status_code == 200
        assert "opt-learning_rate" in client.get("/lora").text
        assert client.get(f"/gradio_api/file={guarded.run_file}").text == "of the run"
        assert client.get(f"/gradio_api/file={guarded.outside}").status_code in (403, 404)


def cookies_of(guarded: Served, **headers: str) -> list[str]:
    right = {"username": LOGIN[0], "password": LOGIN[1]}
    with guarded.client() as client:
        return client.post("/login", data=right, headers=headers).headers.get_list("set-cookie")


def test_the_sessions_cookie_is_hidden_from_scripts_and_other_sites(guarded: Served) -> None:
    (plain,) = cookies_of(guarded)
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(plain.split("; "))
    assert "Secure" not in plain  # a browser would not send it back over http
    (secure,) = cookies_of(guarded, **{"X-Forwarded-Proto": "https"})
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Secure"} <= set(secure.split("; "))
    for cookie in (plain, secure):
        name, value = cookie.split(";", 1)[0].split("=", 1)
        with guarded.client() as client:
            client.cookies.set(name, value)
            assert client.get(f"{PREFIX}/queue").status_code == 200
            assert "opt-learning_rate" in client.get("/lora").text
            client.cookies.set(name, value[:-1] + ("a" if value[-1] != "a" else "b"))
            assert client.get(f"{PREFIX}/queue").status_code == 401
            assert client.get("/config").status_code == 401


def test_no_script_of_a_page_is_told_the_secret_of_its_session(guarded: Served) -> None:
    with guarded.client() as client:
        client.post("/login", data={"username": LOGIN[0], "password": LOGIN[1]})
        secrets = set(client.cookies.values())
        for path in paths_of(guarded.blocks.app):
            if "{" not in path and path != "/logout":
                text = client.get(path).text
                assert not any(secret in text for secret in secrets), path


def test_guesses_are_limited_one_after_the_other_and_all_at_once(
    guarded: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place has ten guesses a minute, whichever door it tries; a right login goes on."""

    def guess(place: str, number: int) -> int:
        headers = {"X-Forwarded-For": place}
        with guarded.client() as client:
            if number % 2:
                wrong = (LOGIN[0], f"guess {number}")
                return client.get(f"{PREFIX}/queue", auth=wrong, headers=headers).status_code
            wrong_form = {"username": LOGIN[0], "password": f"guess {number}"}
            return client.post("/login", data=wrong_form, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: guess("192.0.2.1", n), range(30)))
    assert sum(answer in (400, 401) for answer in answers) == MAX_FAILURES
    assert answers.count(429) == 30 - MAX_FAILURES
    right = {"username": LOGIN[0], "password": LOGIN[1]}
    with guarded.client() as client:
        kept = client.post("/login", data=right, headers={"X-Forwarded-For": "192.0.2.2"})
        assert kept.status_code == 200
        late = client.post("/login", data=right, headers={"X-Forwarded-For": "192.0.2.1"})
        assert late.status_code == 429
        headers = {"X-Forwarded-For": "192.0.2.1"}  # who is in stays in
        assert client.get(f"{PREFIX}/queue", headers=headers).status_code == 200
    monkeypatch.setattr(login, "MAX_FAILURES_OF_ALL", MAX_FAILURES)
    assert guess("192.0.2.3", 0) == 429  # a place that is only said to be another one


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


def test_scripts_and_styles_are_packed_once_and_kept_by_the_browser(served: Served) -> None:
    with served.client() as client:
        page = client.get("/lora").text
        own = re.search(r"\./kg/pages-\w+\.js", page)
        assert own is not None
        assets = re.findall(r"\./assets/[\w-]+\.(?:js|css)", page)
        assert len(assets) >= 2
        for address in (own[0], *assets):
            packed, again = (client.get(f"/{address[2:]}") for _ in range(2))
            plain = client.get(f"/{address[2:]}", headers={"Accept-Encoding": "identity"})
            assert "immutable" in packed.headers["Cache-Control"]
            assert packed.headers["Content-Encoding"] == "gzip"
            assert "Content-Encoding" not in plain.headers
            assert packed.text == again.text == plain.text
            assert packed.headers["Content-Type"] == plain.headers["Content-Type"]
        assert "window.KG = {" in client.get(f"/{own[0][2:]}").text
        assert client.get("/kg/pages-0123456789abcdef.js").status_code == 404
        assert "Cache-Control" not in client.get("/assets/none-12345678.js").headers
        # What is no such file is not kept: pages differ from one visit to the next.
        assert "immutable" not in client.get("/lora").headers.get("Cache-Control", "")


def test_an_unknown_address_is_told_in_a_page_with_the_way_back(served: Served) -> None:
    browser = {"Accept": "text/html,*/*", "Cookie": "kg-language=de"}
    with served.client() as client:
        for path, top in (("/nowhere", "./"), ("/a/b/nowhere", "../../")):
            answer = client.get(path, headers=browser)
            assert answer.status_code == 404
            assert served.context.text("not_found.title") not in answer.text  # that is English
            assert "Hier ist keine Seite" in answer.text
            assert f'href="{top}"' in answer.text
            assert f'href="{top}runs"' in answer.text
        strange = client.get("/%3Cscript%3Ealert(1)%3C/script%3E", headers=browser)
        assert "alert(1)" not in strange.text
        assert client.get("/nowhere").text == "Not found."
        rest = client.get("/api/v1/nowhere", headers=browser)
        assert rest.status_code == 404
        assert rest.headers["Content-Type"] == "application/json"
        assert "Hier" not in client.get("/lora", headers={"Accept": "text/html"}).text


def test_an_open_page_costs_no_copy_of_all_pages(served: Served) -> None:
    """Gradio would describe all components for each page, and make those anew that stay as is."""
    [opening] = [
        function
        for function in served.blocks.fns.values()
        if function.page == "lora" and function.targets[0][1] == "load"
    ]
    call = {"fn_index": opening._id, "data": ["{}"], "session_hash": "one more"}
    with served.client() as client:
        sent = client.post("/gradio_api/run/predict", json=call).json()["data"]
    assert len(sent) == len(opening.outputs) > 100
    assert json.loads(sent[0])["opened"]
    assert sent.count({"__type__": "update"}) > 100
    assert len(served.blocks.app.state_holder["one more"].config_values) < 10
