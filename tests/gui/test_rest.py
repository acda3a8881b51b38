"""The REST routes on the real server: jobs go in, runs are told and asked; no other way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kohya_gui.jobs.told import events_told
from kohya_gui.login import MAX_FAILURES
from kohya_gui.rest.routes import PREFIX, addresses
from sd_scripts.runs.events import EndEvent, EventWriter
from sd_scripts.runs.folder import RunFolder
from tests.gui.jobs.conftest import wait_for_state
from tests.gui.test_server import LOGIN, Served
from tests.support.pages import add_sample, make_run

ROOT = Path(__file__).resolve().parents[2]
GOOD = (
    'pretrained_model_name_or_path = "m.safetensors"\ntrain_data_dir = "p"\nmax_train_steps = 4\n'
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    page = Served(tmp_path_factory.mktemp("rest"), [])
    yield page
    page.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    page = Served(
        tmp_path_factory.mktemp("guarded"), ["--username", LOGIN[0], "--password", LOGIN[1]]
    )
    yield page
    page.close()


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=served.address.rstrip("/") + PREFIX, trust_env=False, timeout=60
    ) as made:
        yield made


@pytest.fixture
def run(served: Served) -> RunFolder:
    """A run that is over, with a picture and a private neighbour."""
    made = make_run(served.context.workspace.path, "mycat", alive=False)
    add_sample(made, 3, 0, "a cat")
    with EventWriter(made.events) as events:
        events.emit(EndEvent(status="finished"))
    return made


def problems(answer: httpx.Response, status: int) -> list[dict[str, str]]:
    assert answer.status_code == status, answer.text
    found: list[dict[str, str]] = answer.json()["problems"]
    assert found
    assert all(set(one) == {"message", "option", "hint", "severity"} for one in found)
    return found


# ---- documented, all of it ----
def documented() -> set[tuple[str, str]]:
    text = (ROOT / "docs" / "rest.md").read_text("utf-8")
    rows = re.findall(r"`(GET|POST|DELETE) (/api/v1[^`]*)`", text)
    return set(rows)


def test_every_route_is_documented_and_no_other(served: Served, client: httpx.Client) -> None:
    there = {(one.method, PREFIX + one.path) for one in addresses(served.context)}
    there = {(method, path.replace(":path", "")) for method, path in there}
    assert there == documented()
    listed = client.get("").json()["routes"]
    assert len(listed) == len(there) - 1
    assert all(row["about"].endswith(".") for row in listed)


def test_an_unknown_route_is_told_in_json(client: httpx.Client) -> None:
    assert "GET /api/v1" in problems(client.get("/nothing/here"), 404)[0]["hint"]
    assert problems(client.put("/runs"), 404)


# ---- jobs ----
def test_a_job_is_looked_at_with_every_problem(client: httpx.Client) -> None:
    good = client.post("/jobs", params={"do": "check"}, content=GOOD)
    assert good.json()["state"] == "good", good.text
    bad = "network_dim = -3\nlearning_rat = 1\n"
    found = problems(client.post("/jobs", params={"do": "check"}, content=bad), 422)
    assert {"network_dim", "learning_rat"} <= {one["option"] for one in found}
    assert problems(client.post("/jobs", content="x = = 1"), 422)
    assert problems(client.post("/jobs", params={"job": "os"}, content=GOOD), 422)
    assert problems(client.post("/jobs", params={"do": "dance"}, content=GOOD), 400)
    assert problems(client.post("/jobs", content=b"\xff\xfe"), 400)


def test_a_job_starts_fails_in_words_and_is_told(served: Served, client: httpx.Client) -> None:
    params = {"do": "start", "name": "röd", "job": "check_pictures"}
    answer = client.post("/jobs", params=params, content='train_data_dir = "p"')
    assert answer.status_code == 201, answer.text
    run_id = answer.json()["run"]
    run = served.context.store.get(run_id)
    assert run is not None
    assert str(served.context.workspace.path / "p") in run.config.read_text("utf-8")
    wait_for_state(run, "failed")
    status = client.get(f"/runs/{run_id}").json()
    assert status["state"] == "failed"
    assert status["name"] == "röd"
    assert status["problems"]
    assert client.delete(f"/runs/{run_id}").json()["files"] > 0
    assert problems(client.get(f"/runs/{run_id}"), 404)


def test_a_job_waits_and_the_queue_is_worked_on(served: Served, client: httpx.Client) -> None:
    busy = make_run(served.context.workspace.path, "at work")
    try:
        assert problems(client.post("/jobs", params={"do": "start"}, content=GOOD), 409)
        first = client.post("/jobs", params={"name": "first"}, content=GOOD)
        assert first.status_code == 202, first.text
        second = client.post("/jobs", params={"name": "second"}, content=GOOD).json()["id"]
        moved = client.post(f"/queue/{second}/move", params={"position": 1}).json()
        assert [job["name"] for job in moved["jobs"]] == ["second", "first"]
        assert client.post("/queue/pause").json()["paused"] is True
        assert client.post(f"/queue/{second}/retry").status_code == 200
        device = {"device": "cuda:99"}
        assert problems(client.post(f"/queue/{second}/device", params=device), 422)
        assert problems(client.post("/jobs", params=device, content=GOOD), 422)
        assert problems(client.post("/jobs", params={**device, "do": "check"}, content=GOOD), 422)
        same = client.post(f"/queue/{second}/device", params={"device": "default"}).json()
        assert same["jobs"][0]["device"] == "default"
        for job in (second, first.json()["id"]):
            assert client.delete(f"/queue/{job}").status_code == 200
        assert client.post("/queue/continue").json() == {"paused": False, "jobs": []}
        assert problems(client.delete(f"/queue/{second}"), 404)
    finally:
        with EventWriter(busy.events) as events:
            events.emit(EndEvent(status="finished"))
        busy.run_json.unlink()


def test_lists_of_values_make_runs_that_wait(served: Served, client: httpx.Client) -> None:
    several = f"{GOOD}network_dim = [8, 16]\n"
    assert problems(client.post("/jobs", params={"do": "start"}, content=several), 400)
    assert problems(client.post("/checks", content=several), 400)
    assert problems(client.post("/jobs", content=f"{GOOD}network_dim = [8, -1]\n"), 422)
    names = ["p-network_dim-8", "p-network_dim-16"]
    checked = client.post("/jobs", params={"do": "check"}, content=several).json()
    assert [run["name"] for run in checked["runs"]] == names
    assert client.post("/queue/pause").json()["jobs"] == []
    answer = client.post("/jobs", content=several)
    assert answer.status_code == 202, answer.text
    waiting = client.get("/queue").json()["jobs"]
    assert [job["name"] for job in waiting] == names
    assert [run["id"] for run in answer.json()["runs"]] == [job["id"] for job in waiting]
    for job in waiting:
        client.delete(f"/queue/{job['id']}")
    client.post("/queue/continue")


def test_a_check_is_started_and_told(client: httpx.Client) -> None:
    check = client.post("/checks", content=GOOD)
    assert check.status_code == 202
    told = client.get(f"/checks/{check.json()['check']}").json()
    assert told["state"] in ("working", "bad")
    assert problems(client.get("/checks/0123456789abcdef"), 404)


# ---- runs ----
def test_runs_are_listed_a_part_at_a_time(client: httpx.Client, run: RunFolder) -> None:
    listed = client.get("/runs", params={"limit": 1}).json()
    assert len(listed["runs"]) == 1
    assert listed["total"] >= 1
    assert client.get("/runs", params={"active": "1"}).json()["runs"] == []
    for wrong in ({"limit": "-1"}, {"limit": "9" * 5000}, {"offset": "x"}, {"limit": "1001"}):
        assert problems(client.get("/runs", params=wrong), 400)[0]["option"] in wrong


def test_events_are_read_on_by_offset(client: httpx.Client, run: RunFolder) -> None:
    first = client.get(f"/runs/{run.id}/events").json()
    kinds = [event["type"] for event in first["events"]]
    assert (kinds[0], kinds[-1]) == ("start", "end")
    again = client.get(f"/runs/{run.id}/events", params={"offset": first["offset"]}).json()
    assert again == {"events": [], "offset": first["offset"], "more": False}


def test_many_events_come_in_pieces(run: RunFolder) -> None:
    whole = events_told(run.events, 0)
    found, offset, more = [], 0, True
    while more:
        told = events_told(run.events, offset, limit=500)
        found += told["events"]
        offset, more = told["offset"], told["more"]
    assert found == whole["events"]


def test_a_number_that_json_has_no_word_for_is_null(run: RunFolder) -> None:
    with open(run.events, "ab") as file:
        file.write(b'{"type": "step", "time": 1, "loss": NaN}\nbroken\n')
    assert events_told(run.events, 0)["events"][-1]["loss"] is None


def test_log_config_samples_and_files_are_told(client: httpx.Client, run: RunFolder) -> None:
    run.log.write_text("one\ntwo\nthree\n")
    log = client.get(f"/runs/{run.id}/log", params={"lines": 2}).json()
    assert (log["lines"], log["first"]) == (["two", "three"], 1)
    assert client.get(f"/runs/{run.id}/config").text == "seed = 7\n"
    sample = client.get(f"/runs/{run.id}/samples").json()["samples"][0]
    picture = client.get(f"/runs/{run.id}/files/{sample['file']}")
    assert picture.content.startswith(b"\x89PNG")
    assert "attachment" in picture.headers["content-disposition"]
    files = {one["file"] for one in client.get(f"/runs/{run.id}/files").json()["files"]}
    assert {"config.toml", "train.log", sample["file"]} <= files


def test_a_run_at_work_is_asked_for_things(served: Served, client: httpx.Client) -> None:
    run = make_run(served.context.workspace.path, "asked")
    for request in ("save", "sample", "pause"):
        assert request in client.post(f"/runs/{run.id}/{request}").json()["asked"]
    assert "pause" not in client.post(f"/runs/{run.id}/continue").json()["asked"]
    assert "stop" in client.post(f"/runs/{run.id}/stop").json()["asked"]
    assert problems(client.delete(f"/runs/{run.id}"), 409)
    assert problems(client.post(f"/runs/{run.id}/dance"), 404)
    with EventWriter(run.events) as events:
        events.emit(EndEvent(status="stopped"))
    run.run_json.unlink()
    assert problems(client.post(f"/runs/{run.id}/stop"), 409)


# ---- nothing else gets out or in ----
ESCAPES = (
    "../../../../settings.json",
    "..%2f..%2f..%2fsettings.json",
    "%2e%2e/%2e%2e/settings.json",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "samples/../../../settings.json",
    "samples%00.png",
    "..%5c..%5csettings.json",
    "link.txt",
    "linked/outside.txt",
    "samples",
    "",
)


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out_of_a_run(
    served: Served, client: httpx.Client, run: RunFolder, path: str
) -> None:
    served.context.workspace.settings.write_text('{"private": 1}')
    (run.path / "link.txt").symlink_to(served.outside)
    (run.path / "linked").symlink_to(served.outside.parent)
    answer = client.get(f"/runs/{run.id}/files/{path}")
    assert "private" not in answer.text
    assert "root:" not in answer.text
    if path:
        assert answer.status_code == 404
    listed = [one["file"] for one in client.get(f"/runs/{run.id}/files").json()["files"]]
    assert not any(name.startswith("link") for name in listed)


@pytest.mark.parametrize("name", ["..", ".trash", "%2e%2e", "..%2f..", "a%00", "C:", "nobody"])
def test_no_id_leads_out_of_the_runs(client: httpx.Client, name: str) -> None:
    for answer in (client.get(f"/runs/{name}/config"), client.post(f"/runs/{name}/stop")):
        assert problems(answer, 404)


def test_a_large_body_is_refused_while_it_comes(client: httpx.Client) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(300):
            yield b"# " + b"x" * 10_000 + b"\n"

    assert problems(client.post("/jobs", content=parts()), 413)


def test_other_sites_change_nothing(served: Served, client: httpx.Client) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        for method, path in (("POST", "/jobs"), ("POST", "/queue/pause"), ("DELETE", "/runs/x")):
            assert client.request(method, path, headers=headers).status_code == 403
    rebound = client.get("/runs", headers={"Host": "evil.example"})
    assert rebound.status_code == 403
    assert served.context.queue.content().paused is False


# ---- the login ----
def test_every_route_needs_the_login(guarded: Served) -> None:
    with httpx.Client(base_url=guarded.address, trust_env=False, timeout=60) as client:
        for one in addresses(guarded.context):
            path = re.sub(r"\{[^}]+\}", "x", PREFIX + one.path)
            answer = client.request(one.method, path)
            assert problems(answer, 401), path
            assert answer.headers["www-authenticate"].startswith("Basic")
        assert problems(client.get(f"{PREFIX}/no/such"), 401)
        assert client.get(f"{PREFIX}/runs", auth=LOGIN).status_code == 200
        assert client.get(f"{PREFIX}/runs").status_code == 401
        client.post("/login", data={"username": LOGIN[0], "password": LOGIN[1]})
        assert client.get(f"{PREFIX}/runs").status_code == 200


def test_guessing_has_to_wait(guarded: Served) -> None:
    with httpx.Client(base_url=guarded.address, trust_env=False, timeout=60) as client:
        for header in ("Basic", "Basic !!!", "Bearer x", "Basic bm9jb2xvbg=="):
            answer = client.get(f"{PREFIX}/runs", headers={"Authorization": header})
            assert answer.status_code == 401
        codes = [client.get(f"{PREFIX}/runs", auth=(LOGIN[0], "guess")).status_code]
        wrong = {"username": LOGIN[0], "password": "guess"}
        codes += [client.post("/login", data=wrong).status_code for _ in range(MAX_FAILURES)]
        assert codes[-1] == 429
        assert client.get(f"{PREFIX}/runs", auth=LOGIN).status_code == 429
