"""Events of forms, and calls that no page makes: refused in words or answered, never a fault."""

from __future__ import annotations

import itertools
import json
from typing import Any, Final

from kohya_gui.forms.desk import Desk
from kohya_gui.quick_gradio import gr
from kohya_gui.settings import save_settings
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.runs.folder import RunFolder
from tests.gui.attacks.evils import CONTENT, evils, functions, leaks, said
from tests.gui.test_server import Served

ODD_TEXTS: Final = ("", " ", "~nobody/x", "[1", "{}", "null", "1e999", "9" * 40, "x/" * 3000)
JSON: Final = {"Content-Type": "application/json"}
NO_JSON: Final = (
    *("", "x", "[]", "null", "1", '{"data": NaN}', '{"data": -Infinity}', '{"data": 1e999}'),
    *(b'{"data": "\xed\xa0\x80"}', '{"data": []}'.encode("utf-16")),
    *('{"data": "\\ud800"}', '{"\\udfff": 1}', '{"data": ' + "9" * 5000 + "}", "\x00", "[" * 10**5),
)
INNER: Final = (
    *("launch", "postprocess", "__init__", "__reduce__", "get_block_name", "render", "exec"),
)


def test_no_event_of_a_form_gives_away_runs_or_asks_anything(
    served: Served, run: RunFolder, asked: list[object]
) -> None:
    """Each event of a page, with other values than a page could send, as another session: once
    with any value anywhere, once with what is typed alone."""
    folder = served.context.workspace.path.parent
    save_settings(served.context.workspace, before := served.context.settings())
    evil = [*evils(served, run).values(), *ODD_TEXTS]
    files = {"path": evil[0], "meta": {"_type": "gradio.FileData"}, "url": "http://192.0.2.1/x"}
    odd: list[Any] = [*evil, {"path": evil[0]}, files, None, -1, True, [], {"a": []}, 2**62, 1e300]
    events = served.blocks.fns
    assert len(events) > 10
    faults = []
    with served.client() as client:
        for number, event in events.items():
            large = len(event.inputs) > 10
            for turn in range(0, len(odd), 7 if large else 1):
                anything = [odd[(turn + n) % len(odd)] for n, _ in enumerate(event.inputs)]
                typed = [
                    evil[(turn + n) % len(evil)] if isinstance(block, gr.Textbox) else block.value
                    for n, block in enumerate(event.inputs)
                ]
                for data in (anything, typed):
                    body = {"fn_index": number, "session_hash": "another", "data": data}
                    answer = client.post("/gradio_api/run/predict", json=body)
                    if answer.status_code not in (200, 404, 422):
                        faults.append((number, turn, answer.status_code, answer.text[:200]))
                    if leaks(answer.text):
                        faults.append((number, turn, "gave away"))
    assert faults == []
    assert asked == []
    assert not (folder / "PWNED").exists()
    assert served.context.settings().roots == before.roots
    assert not list(run.path.parent.parent.parent.glob("*.exe"))


def test_nothing_that_is_done_with_a_form_gives_away_runs_or_asks_anything(
    served: Served, run: RunFolder, asked: list[object]
) -> None:
    """Each change of a form and each thing done with it, with other words than a page has."""
    folder = served.context.workspace.path.parent
    evil: list[Any] = [*evils(served, run).values(), "~nobody/x", None, -1, [], {"a": {"b": [1]}}]
    changes = ("set", "reset", "sweep", "clear", "toml", "preset", "open_text", "open_file")
    acts = Desk(served.context, TrainNetworkJob)._actions
    assert len(acts) > 10
    doing = {"_on_alter": (*changes, "revert", "no such"), "_on_act": (*acts, "no such")}
    on_page = [one for one in served.blocks.fns.values() if one.page == "lora" and one.fn]
    events = {one.fn.__name__: one for one in on_page}
    faults = []
    with served.client() as client:
        for name, wishes in doing.items():
            data = [block.value for block in events[name].inputs]
            for odd in ("24", 5, [1]):
                body = {"fn_index": events[name]._id, "session_hash": "x", "data": data}
                answer = client.post("/gradio_api/run/predict", json={**body, "event_data": odd})
                assert answer.status_code == 200
            for wish, what in itertools.product(wishes, evil):
                values = {"train_data_dir": what, "network_dim": what, "vae": what}
                told = {
                    **said(what),
                    "what": wish,
                    "values": values,
                    "lists": {"network_dim": what},
                }
                del told["path"]
                body = {"fn_index": events[name]._id, "session_hash": "x", "data": data}
                answer = client.post("/gradio_api/run/predict", json={**body, "event_data": told})
                if answer.status_code != 200:
                    faults.append((wish, what, answer.status_code, answer.text[:200]))
                if CONTENT in answer.text:
                    faults.append((wish, what, "gave away"))
    assert faults == []
    assert asked == []
    assert not (folder / "PWNED").exists()


def test_a_call_that_no_page_makes_is_refused_in_words(
    served: Served, run: RunFolder, asked: list[object]
) -> None:
    """Not JSON, numbers and letters that are none, functions that are not there: 4xx, no fault."""
    number, name = functions(served)[0]
    (event,) = [n for n, one in served.blocks.fns.items() if one.page == "" or not one.inputs][:1]
    calls = {
        "/gradio_api/run/predict": {"fn_index": event, "session_hash": "x", "data": []},
        "/gradio_api/component_server": {
            "component_id": number,
            "fn_name": name,
            "session_hash": "x",
            "data": {},
        },
    }
    wrong: list[tuple[str, dict[str, Any]]] = [
        *(("/gradio_api/run/predict", {"fn_index": one}) for one in (10**6, -1, True, "x", None)),
        *(("/gradio_api/run/predict", {"data": one}) for one in ("x", {}, None, [1] * 300)),
        *(("/gradio_api/run/predict", {one: True}) for one in ("batched", "oauth_token")),
        *(
            ("/gradio_api/run/predict", {"event_data": one})
            for one in ({"path": "/x"}, [{"path": 1}])
        ),
        *(("/gradio_api/run/predict", {"trigger_id": one}) for one in ("x", [])),
        *(("/gradio_api/component_server", {"component_id": one}) for one in (10**6, -1, None, [])),
        *(("/gradio_api/component_server", {"fn_name": one}) for one in (*INNER, None, 5, [])),
        *((path, {"session_hash": one}) for path in calls for one in (None, 5, [], "x" * 1000)),
        *((path, {"more": 10**400}) for path in calls),
    ]
    with served.client() as client:
        for path, call in calls.items():
            assert client.post(path, json=call).status_code == 200
            for text in NO_JSON:
                answer = client.post(path, content=text, headers=JSON)
                assert answer.status_code == 400, (path, text[:20])
                assert "Load the page again" in answer.json()["error"]
            deep = json.dumps(call)[:-1] + ', "more": ' + "[" * 10_000 + "]" * 10_000 + "}"
            assert client.post(path, content=deep, headers=JSON).status_code == 400
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
                sent = client.post(path, content=json.dumps(call), headers={"Content-Type": kind})
                assert sent.status_code == 415
        for path, change in wrong:
            answer = client.post(path, json={**calls[path], **change})
            assert answer.status_code in (400, 404, 422), (path, change, answer.text[:200])
            assert "Traceback" not in answer.text
        for path in ("/gradio_api/run//lambda", "/gradio_api/run/keep", "/gradio_api/run/x/y"):
            wish = {"session_hash": "x", "data": []}
            assert client.post(path, json=wish).status_code in (404, 422)
    assert asked == []
