"""The running server attacked through every function that scripts of its pages can call: no file
from outside comes out, nothing is run, nobody else is asked, no fault of ours answers."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest
import tomlkit
from pydantic import SecretStr

from kohya_gui.forms.desk import Desk
from kohya_gui.guided import uploads
from kohya_gui.jobs.notify import post
from kohya_gui.rest.routes import PREFIX, addresses
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.runs.folder import RunFolder
from tests.gui.attacks.evils import CONTENT, NAME, evils, functions, said
from tests.gui.test_server import Served


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
