"""The history: words, tags and options' values find runs; order, pages and counts."""

from __future__ import annotations

import pytest

from kohya_gui.jobs import history as module
from kohya_gui.jobs.history import History, HistoryWish, UnknownOption
from kohya_gui.jobs.notes import write_note
from kohya_gui.jobs.store import RunStore
from kohya_gui.workspace import Workspace
from sd_scripts.runs.events import EndEvent, EventWriter, StepEvent
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.record import RunRecord, write_record

TOML = """\
[network]
network_dim = {dim}
network_args = ["conv_dim=4", "algo=loha"]
[model]
pretrained_model_name_or_path = "/models/SDXL base.safetensors"
cache_latents = true
learning_rate = {rate}
"""


def made(workspace: Workspace, name: str, dim: int, *, job: str = "train_network") -> RunFolder:
    run = RunFolder.create(workspace.runs, name, TOML.format(dim=dim, rate=0.0001))
    write_record(
        run, RunRecord(name=name, job=job, started=float(dim), pid=4_000_000, create_time=1)
    )
    with EventWriter(run.events) as events:
        events.emit(StepEvent(step=1, epoch=1, loss=1 / dim))
        events.emit(EndEvent(status="finished" if dim < 20 else "failed"))
    return run


@pytest.fixture
def history(workspace: Workspace) -> History:
    for name, dim in (("cat", 8), ("dog", 16), ("Cat again", 32)):
        made(workspace, name, dim)
    made(workspace, "captions", 4, job="make_captions")
    return History(RunStore(workspace))


def found(history: History, text: str = "", **wish: object) -> list[str]:
    return [run.name for run in history.look(HistoryWish.of({"text": text, **wish})).runs]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["Cat again", "dog", "cat", "captions"]),
        ("CAT", ["Cat again", "cat"]),
        ("cat again", ["Cat again"]),
        ("network_dim=16", ["dog"]),
        ("network_dim=16.0", ["dog"]),
        ("learning_rate=1e-4 cat", ["Cat again", "cat"]),
        ("cache_latents=True network_dim=8", ["cat"]),
        ("cache_latents=false", []),
        ("network_args=loha network_dim=8", ["cat"]),
        ('pretrained_model_name_or_path="sdxl base" network_dim=8', ["cat"]),
        ("network_dim=x", []),
        ("seed=7", []),
        ("seed= network_dim=8", ["cat"]),
        ("don't", []),
        ("#best", []),
    ],
)
def test_words_and_options_find_runs(history: History, text: str, names: list[str]) -> None:
    assert found(history, text) == names


def test_notes_and_tags_find_runs(history: History, workspace: Workspace) -> None:
    run = next(run.folder for run in RunStore(workspace).list() if run.name == "dog")
    write_note(workspace, run, "the ears are right", ["Best", "v 2"], 0)
    assert found(history, "ears right") == ["dog"]
    assert found(history, "#best") == ["dog"]
    assert found(history, "#bes") == []
    assert found(history, '"#v 2"') == ["dog"]
    assert history.look(HistoryWish()).tags == {"Best": 1, "v 2": 1}


def test_an_option_that_there_is_none_of_is_told(history: History) -> None:
    page = history.look(HistoryWish("netwrok_dim=8"))
    assert page.unknown == (UnknownOption("netwrok_dim", "network_dim"),)
    assert page.num_found == 4


def test_filters_and_their_counts(history: History) -> None:
    assert found(history, state="failed") == ["Cat again"]
    assert found(history, job="make_captions") == ["captions"]
    page = history.look(HistoryWish("cat", state="failed"))
    assert (page.num_found, page.num_all) == (1, 4)
    assert page.states == {"finished": 1, "failed": 1}
    assert page.jobs == {"train_network": 2}


def test_orders(history: History) -> None:
    assert found(history, sort="oldest") == ["captions", "cat", "dog", "Cat again"]
    assert found(history, sort="name") == ["captions", "cat", "Cat again", "dog"]
    assert found(history, sort="loss") == ["Cat again", "dog", "cat", "captions"]
    assert found(history, sort="sideways") == found(history)


def test_pages(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 3)
    assert found(history, page=2) == ["captions"]
    last = history.look(HistoryWish(page=99))
    assert (last.page, last.num_pages) == (2, 2)
    assert found(history, page=-1) == found(history, page=1)


def test_a_run_that_goes_while_one_searches_is_passed_over(
    history: History, workspace: Workspace
) -> None:
    run = next(run.folder for run in RunStore(workspace).list() if run.name == "dog")
    run.config.unlink()
    assert found(history, "network_dim=16") == []
