"""The running server attacked through every function that scripts of its pages can call: no file
from outside comes out, nothing is run, nobody else is asked, no fault of ours answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx
import pytest

from kohya_gui.forms.desk import Desk
from kohya_gui.jobs.notify import post
from kohya_gui.rest.routes import PREFIX, addresses
from kohya_gui.settings import Settings, save_settings
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.runs.folder import RunFolder
from tests.gui.test_server import Served
from tests.support.pages import add_sample, make_run

CONTENT: Final = "canary-content"
NAME: Final = "canary-name"
FIELDS: Final = (
    *("run", "runs", "id", "what", "draft", "folder", "path", "file", "files", "picture", "name"),
    *("project", "order", "place", "text", "note", "tags", "tag", "job", "preset", "against"),
    *("check", "trial", "queued", "remedy", "words", "trigger", "prompt", "base", "model", "key"),
    *("goal", "card", "option", "values", "source", "state", "sort", "mask", "title", "wants"),
)
"""What the scripts of the pages name; each is given every evil thing at once."""
SLOW: Final = frozenset({"examine"})
"""Starts the doctor, a program of its own without any argument of the request."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("attacked")
    seen = folder / "seen"
    outside = folder / "outside"
    for one in (seen, outside):
        one.mkdir()
    for name in (f"{NAME}.png", f"{NAME}.txt", f"{NAME}.safetensors", f"{NAME}.toml"):
        (outside / name).write_text(CONTENT)
    (seen / "link").symlink_to(outside)
    (seen / "link.txt").symlink_to(outside / f"{NAME}.txt")
    page = Served(folder, [])
    save_settings(page.context.workspace, Settings(roots=(str(seen),)))
    yield page
    page.close()


@pytest.fixture(scope="module")
def run(served: Served) -> RunFolder:
    made = make_run(served.context.workspace.path, "mycat", alive=False)
    add_sample(made, 3, 0, "a cat")
    (made.path / "away").symlink_to(served.context.workspace.path.parent / "outside")
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The addresses other than this machine's that were asked while a test went on."""
    found: list[object] = []
    plain_connect = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            found.append(address)
            raise ConnectionRefusedError
        plain_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return found


def functions(served: Served) -> list[tuple[int, str]]:
    """Return every function that a page's script can call, each once by its name and page."""
    found = []
    for number, block in served.blocks.blocks.items():
        names = (name for name in vars(block) if not name.startswith("__"))
        marked = [n for n in names if getattr(vars(block)[n], "_is_server_fn", False)]
        found += [(number, name) for name in marked if name not in SLOW]
    return found


def evils(served: Served, run: RunFolder) -> Mapping[str, str]:
    folder = served.context.workspace.path.parent
    return {
        "a file outside": str(folder / "outside" / f"{NAME}.txt"),
        "a folder outside": str(folder / "outside"),
        "up and out": f"{run.path}/../../../outside",
        "up from a run": f"{run.id}/../../../outside/{NAME}.txt",
        "a link out": str(folder / "seen" / "link"),
        "a file behind a link": str(folder / "seen" / "link.txt"),
        "a shell": f"x; touch {folder}/PWNED; $(touch {folder}/PWNED) `touch {folder}/PWNED` | x",
        "an option": f"--config_file={folder}/outside/{NAME}.toml",
        "an address": "http://192.0.2.1/latest/meta-data",
        "a file address": f"file://{folder}/outside/{NAME}.txt",
        "a share": r"\\192.0.2.1\share\model.safetensors",
        "a hub model": "somebody/some-model",
        "no character": "a\x00b",
        "much": "x" * 100_000,
    }


def said(what: str) -> dict[str, Any]:
    data: dict[str, Any] = dict.fromkeys(FIELDS, what)
    return {**data, "runs": [what], "files": [what], "values": {"train_data_dir": what}}


def test_no_function_of_a_page_gives_away_runs_or_asks_anything(
    served: Served, run: RunFolder, asked: list[object]
) -> None:
    folder = served.context.workspace.path.parent
    found = functions(served)
    assert len({name for _, name in found}) > 60
    faults = []
    once: set[str] = set()
    with served.client() as client:
        for number, name in found:
            if name in once:  # the same function on several pages
                continue
            once.add(name)
            for kind, what in evils(served, run).items():
                body = {"component_id": number, "fn_name": name, "session_hash": "x"}
                for data in (said(what), what) if kind == "no character" else (said(what),):
                    try:
                        answer = client.post(
                            "/gradio_api/component_server", json={**body, "data": data}
                        )
                    except httpx.TransportError:  # a server that closes has not answered
                        faults.append((name, kind, "closed"))
                        continue
                    text = answer.text.replace(what, "")
                    if answer.status_code >= 500:
                        faults.append((name, kind, answer.status_code))
                    if CONTENT in text or (NAME in text and NAME not in what):
                        faults.append((name, kind, "gave away"))
    assert faults == []
    assert asked == []
    assert not (folder / "PWNED").exists()
    assert run.path.is_dir()
    assert (folder / "outside" / f"{NAME}.txt").read_text() == CONTENT


def test_no_route_of_programs_gives_away_or_runs_anything(
    served: Served, run: RunFolder, asked: list[object]
) -> None:
    folder = served.context.workspace.path.parent
    with served.client() as client:
        for one in addresses(served.context):
            for what in evils(served, run).values():
                path = PREFIX + one.path.replace("{run}", run.id)
                path = path.replace("{file:path}", "away/" + NAME + ".txt")
                for field in ("{job}", "{check}", "{request}"):
                    path = path.replace(field, "..%2f..%2f..%2foutside")
                answer = client.request(
                    one.method, path, params={"offset": what[:2000]}, content=what.encode()
                )
                assert answer.status_code < 500, (one.path, what[:60])
                assert CONTENT not in answer.text
            if one.method == "DELETE":
                assert (folder / "outside" / f"{NAME}.txt").exists()
    assert asked == []
    assert not (folder / "PWNED").exists()


def test_secrets_in_settings_of_others_are_kept_nowhere(served: Served) -> None:
    secret = "hf_canary-token"
    toml = f"wandb_api_key = '{secret}'\nhuggingface_token = '{secret}'\nseed = 1\n"
    sent = f'{{"wandb_api_key": "{secret}", "LoRA_type": "Standard", "seed": 1}}'
    context = served.context
    desk = Desk(context, TrainNetworkJob)
    shown = []
    for source, text in (("a.toml", toml), ("a.json", sent)):
        draft = desk.first()
        shown.append(desk.act("import", {"source": source, "text": text}, draft))
        opened, notice, problems = desk.alter("open_text", {"source": source, "text": text}, draft)
        context.drafts.save(context.drafts.new_id(), opened)
        shown.append((notice, problems))
    with served.client() as client:
        for path in ("/jobs", "/jobs?do=check", "/checks"):
            shown.append(client.post(PREFIX + path, content=toml).text)
    assert secret not in repr(shown)
    kept = [path for path in context.workspace.path.rglob("*") if path.is_file()]
    assert kept
    assert not any(secret.encode() in path.read_bytes() for path in kept)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "ftp://192.0.2.1/x",
        "gopher://192.0.2.1",
        "//192.0.2.1",
        "x",
        "http://",
    ],
)
def test_the_webhook_posts_over_http_alone(address: str, asked: list[object]) -> None:
    assert post(address, {"event": "test"}) is not None
    assert asked == []
