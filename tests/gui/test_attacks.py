"""The running server attacked through every function that scripts of its pages can call: no file
from outside comes out, nothing is run, nobody else is asked, no fault of ours answers."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx
import pytest
import tomlkit
from pydantic import SecretStr

from kohya_gui.forms.desk import Desk
from kohya_gui.guided import uploads
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


def test_no_event_of_a_form_gives_away_runs_or_asks_anything(
    served: Served, run: RunFolder, asked: list[object]
) -> None:
    """Each event of a page, with other values than a page could send, as another session."""
    folder = served.context.workspace.path.parent
    save_settings(served.context.workspace, before := served.context.settings())
    wicked = [*evils(served, run).values(), {"path": str(folder / "outside" / f"{NAME}.txt")}]
    files = {"path": wicked[0], "meta": {"_type": "gradio.FileData"}, "url": "http://192.0.2.1/x"}
    odd: list[Any] = [*wicked, files, None, -1, True, [], {"a": []}]
    events = served.blocks.fns
    assert len(events) > 10
    with served.client() as client:
        client.headers["Connection"] = "close"  # a server that fails hangs up
        for number, event in events.items():
            for turn in range(0, len(odd), 1 if len(event.inputs) < 10 else 7):
                data = [odd[(turn + n) % len(odd)] for n, _ in enumerate(event.inputs)]
                body = {"fn_index": number, "session_hash": "another", "data": data}
                answer = client.post("/gradio_api/run/predict", json=body)
                assert answer.status_code in (200, 500), answer.text[:500]
                assert CONTENT not in answer.text, (number, turn)
                said_back = {part for part in wicked if isinstance(part, str) and NAME in part}
                shown = answer.text.replace("\\\\", "\\")
                for part in sorted(said_back, key=len, reverse=True):
                    shown = shown.replace(part, "")
                assert NAME not in shown, (number, turn)
        wrong = {"session_hash": "another", "data": []}
        for call in ({"fn_index": 10**6}, {"fn_index": -1}, {"fn_index": "x"}):
            answer = client.post("/gradio_api/run/predict", json={**wrong, **call})
            assert answer.status_code in (404, 422, 500), call
        for name in ("/lambda", "keep", "/load", "predict2"):
            assert client.post(f"/gradio_api/run/{name}", json=wrong).status_code in (404, 500)
    assert asked == []
    assert not (folder / "PWNED").exists()
    assert served.context.settings().roots == before.roots
    assert not list(run.path.parent.parent.parent.glob("*.exe"))


def test_only_functions_that_a_page_has_given_are_called(
    served: Served, run: RunFolder, asked: list[object]
) -> None:
    numbers = [number for number, _ in functions(served)]
    names = ("launch", "postprocess", "__init__", "__reduce__", "get_block_name", "render", "exec")
    with served.client() as client:
        client.headers["Connection"] = "close"  # a server that fails hangs up
        for number in (*list(dict.fromkeys(numbers))[:4], 10**6, -1):
            for name in names:
                body = {"component_id": number, "fn_name": name, "session_hash": "x", "data": "x"}
                answer = client.post("/gradio_api/component_server", json=body)
                assert answer.status_code in (404, 422, 500), (number, name)
                assert "Traceback" not in answer.text
    assert asked == []


def test_pictures_that_are_sent_are_bounded(
    served: Served, asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Type, name, size, number and place of what a browser sends."""
    call = dict(reversed([(name, number) for number, name in functions(served)]))
    workspace = served.context.workspace.path

    def function(name: str, data: object) -> Any:
        with served.client() as client:
            body = {"component_id": call[name], "fn_name": name, "session_hash": "x", "data": data}
            return client.post("/gradio_api/component_server", json=body).json()

    def send(name: object, content: bytes = b"x", offset: object = 0, total: object = 1) -> bool:
        text = base64.b64encode(content).decode()
        sent = {"project": project, "name": name, "offset": offset, "total": total, "data": text}
        return bool(function("teach_upload", sent).get("done"))

    project = function("teach_begin", {"goal": "style"})["project"]["id"]
    before = {path for path in workspace.parent.rglob("*") if path.is_file()}
    good = (
        "../../../up.png",
        "/etc/root.png",
        "C:\\drive.png",
        "con.png",
        "a\x00b.png",
        ".hidden.png",
    )
    assert [send(name) for name in good] == [True] * len(good)
    bad = ("x.py", "x.png.exe", "x.toml", "x.svg", "x.html", "", None, 5, ["x.png"], "x.png/..")
    assert not any(send(name) for name in bad)
    assert not any(
        send("big.png", total=total) for total in (2**40, 257 * 2**20, -1, 0, "1", None, 1e9)
    )
    assert not any(send("odd.png", offset=offset) for offset in (-1, 1, 2**40, "0", None))
    assert not send("piece.png", b"x" * 2**20, total=2**20)
    monkeypatch.setattr(uploads, "MAX_FILES", len(good))
    assert not send("one more.png")
    new = {path for path in workspace.parent.rglob("*") if path.is_file()} - before
    pictures = {path for path in new if path.suffix == ".png"}
    assert len(pictures) == len(good)
    assert {path.parent.parent for path in pictures} == {workspace / "pictures"}
    assert not any(path.suffix in (".py", ".exe", ".toml", ".svg", ".html") for path in new)


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


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(
            (name, "os.system")
            for name in ("optimizer_type", "lr_scheduler_type", "network_module")
        ),
        *((name, "json") for name in ("network_module", "log_with", "sample_sampler")),
        ("lr_scheduler", "__import__('os').system"),
        ("network_args", ["module=os", "algo=__import__('os')"]),
        ("optimizer_args", ["weight_decay=__import__('os').system('touch PWNED')"]),
        ("lr_scheduler_args", ["lr_lambda=lambda step: open('PWNED', 'w')"]),
    ],
)
def test_no_value_names_what_is_imported_or_run(served: Served, option: str, value: object) -> None:
    """What may be named stands in tables, and values are read as what they are."""
    text = tomlkit.dumps(
        {"pretrained_model_name_or_path": "m", "train_data_dir": "p", option: value}
    )
    with served.client() as client:
        answer = client.post(f"{PREFIX}/jobs?do=check", content=text)
    assert answer.status_code == 422, answer.text
    assert any(option in problem["option"] for problem in answer.json()["problems"])


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
    assert post(SecretStr(address), {"event": "test"}) is not None
    assert asked == []
