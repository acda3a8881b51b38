"""Tagging jobs from the command line to the files, in this process."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from PIL import Image

from sd_scripts.captioning import work
from sd_scripts.captioning.tagging import FREQUENCY_NAME
from sd_scripts.runs import control
from sd_scripts.runs.events import PhaseEvent, StartEvent
from sd_scripts.runs.status import derive_status
from sd_scripts.runs.undo import undo
from tests.captioning.jobs import Bench, tagging
from tests.support.tiny_captioning import make_tagger, paint

RED = "red background, red (paint), old hat (hats) (shop)\n"
GREEN = "green background\n"
BLUE = "blue background, ^_^\n"


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tagger(tmp_path_factory.mktemp("tagger"))


@pytest.fixture
def job(tmp_path: Path, tagger: Path) -> Bench:
    pictures = paint(tmp_path / "pictures", "red.png", "green.png", "sub/blue.png")
    return tagging(pictures, tmp_path, tagger, remove_underscore=True, recursive=True)


def test_tags_are_written_beside_each_picture(job: Bench) -> None:
    assert job.run(batch_size=2) == 0
    assert job.texts() == {"green.txt": GREEN, "red.txt": RED, "sub/blue.txt": BLUE}
    assert job.end().status == "finished"
    assert job.end().reason == "Finished: 3 of 3 pictures done"
    start, *_, last = [e for e in job.events() if isinstance(e, StartEvent | PhaseEvent)]
    assert isinstance(start, StartEvent)
    assert start.num_images == 3
    assert isinstance(last, PhaseEvent)
    assert (last.name, last.done, last.total) == ("Tagging", 3, 3)
    assert derive_status(job.folder()).state == "finished"
    assert "thresh = 0.35" in job.folder().config.read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "new, red background, red (paint), old hat (hats) (shop)"),
        ({"character_tag_expand": True}, "new, red background, red, paint, old hat (hats), shop"),
        ({"tag_replacement": "new,x;red_background,crimson", "thresh": 0.99}, "x, crimson"),
        ({"character_threshold": 2, "caption_separator": ";"}, "new;red background"),
    ],
)
def test_how_tags_are_chosen(tmp_path: Path, options: dict[str, object], text: str) -> None:
    rows = [("new", 9), ("red_background", 0), ("red_(paint)", 4), ("old_hat_(hats)_(shop)", 4)]
    job = tagging(
        paint(tmp_path / "p", "red.png"), tmp_path, make_tagger(tmp_path / "t", rows), **options
    )
    assert job.run(use_rating_tags=True, remove_underscore=True) == 0
    assert job.texts() == {"red.txt": f"{text}\n"}


def test_only_missing_appended_and_written_anew(job: Bench) -> None:
    mine = {"red.txt": "mine, red background\n", "sub/blue.txt": "\n"}
    for name, text in mine.items():
        (job.pictures / name).write_text(text, "utf-8")
    assert job.run("missing", only_missing=True) == 0
    assert job.texts() == {"green.txt": GREEN, "red.txt": mine["red.txt"], "sub/blue.txt": BLUE}
    assert job.end("missing").reason == "Finished: 2 of 2 pictures done; 1 had a text already"
    assert job.run("again", only_missing=True) == 0
    assert job.end("again").reason == "Finished: all 3 pictures have a text already"
    assert job.run("append", append_tags=True) == 0
    added = "mine, red background, red (paint), old hat (hats) (shop)\n"
    assert job.texts()["red.txt"] == added
    assert job.run("anew") == 0
    assert job.texts()["red.txt"] == RED
    # And back, run by run.
    undo(job.folder("anew"))
    assert job.texts()["red.txt"] == added
    undo(job.folder("append"))
    undo(job.folder("missing"))
    assert job.texts() == mine


@pytest.mark.parametrize("name", ["tags.json", "tags.jsonl"])
def test_one_file_for_all(job: Bench, name: str) -> None:
    path = job.place / name
    assert job.run(output_path=path) == 0
    assert job.texts() == {}
    text = path.read_text("utf-8")
    key = str(job.pictures / "sub" / "blue.png")
    if name.endswith("l"):
        rows = [json.loads(line) for line in text.splitlines()]
        found = {row.pop("image_path"): row for row in rows}
    else:
        found = json.loads(text)
    assert found[key] == {"tags": BLUE.strip(), "image_size": [24, 24]}
    assert len(found) == 3
    assert job.run("again", output_path=path, only_missing=True) == 0
    assert job.end("again").reason == "Finished: all 3 pictures have a text already"
    undo(job.folder())
    assert not path.exists()


def test_broken_pictures_are_named_and_the_rest_is_done(job: Bench) -> None:
    (job.pictures / "cut.png").write_bytes((job.pictures / "red.png").read_bytes()[:60])
    Image.new("RGB", (3, 3)).save(job.pictures / "sub" / "name\nwith line.png")
    assert job.run() == 0
    assert set(job.texts()) == {"green.txt", "red.txt", "sub/blue.txt", "sub/name\nwith line.txt"}
    (warning,) = job.warnings()
    assert "cut.png is cut off" in warning
    assert "1 could not be read" in job.end().reason
    assert "nothing was found in 1" in job.end().reason


def test_a_caption_file_that_cannot_be_written(job: Bench) -> None:
    (job.pictures / "red.txt").mkdir()
    assert job.run() == 0
    assert "red.txt can't be written" in job.warnings()[0]
    assert (job.pictures / "green.txt").read_text() == GREEN
    assert "1 text could not be written" in job.end().reason


def test_a_stop_half_way_keeps_what_was_said_and_can_go_on(
    job: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(job.pictures, *(f"more/red {number:02}.png" for number in range(40)))
    asked = threading.Event()
    real = work.Walk._keep

    def keep(*args: object) -> None:
        if not asked.is_set():
            control.request(job.folder(), "stop")
            asked.set()
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(work.Walk, "_keep", keep)
    monkeypatch.setattr("sd_scripts.runs.requests._POLL_SECONDS", 0.0)
    assert job.run(batch_size=1) == 0
    assert job.end().status == "stopped"
    done = len(job.texts())
    assert 1 <= done < 43
    assert job.end().reason == f"Stopped on request: {done} of 43 pictures done"
    assert not any(job.folder().control.iterdir())
    monkeypatch.setattr(work.Walk, "_keep", real)
    assert job.run("rest", only_missing=True, batch_size=8) == 0
    assert len(job.texts()) == 43
    assert set(job.texts().values()) == {RED, GREEN, BLUE}


def test_the_result_does_not_depend_on_threads_and_batches(job: Bench) -> None:
    texts = []
    for number, (threads, batch) in enumerate([(0, 1), (3, 2), (None, 5)]):
        name = f"run {number}"
        assert job.run(name, max_data_loader_n_workers=threads, batch_size=batch) == 0
        texts.append(job.texts())
    assert texts[0] == texts[1] == texts[2]


def test_how_often_each_tag_was_found(job: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.run(frequency_tags=True, debug=True) == 0
    table = (job.folder().output / FREQUENCY_NAME).read_text("utf-8").splitlines()
    assert table[0] == "tag,pictures"
    assert sorted(table[1:]) == sorted(
        f"{tag},1" for text in (RED, GREEN, BLUE) for tag in text.strip().split(", ")
    )
    told = capsys.readouterr().out
    assert "^_^: 1" in told
    assert f"red.png: {RED}" in told


def test_everything_wrong_is_told_at_once(
    job: Bench, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert job.run(model_dir=tmp_path / "none", output_path=tmp_path / "no" / "x.json") == 2
    told = capsys.readouterr().err
    assert "Error [model_dir]" in told
    assert "Error [output_path]" in told
    assert job.end().status == "failed"
    assert len(job.end().problems) == 2
    assert job.texts() == {}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({}, 0, "in order"),
        ({"repo_id": "a/b"}, 0, "in order"),
        ({"train_data_dir": "nowhere"}, 2, "is not there"),
        ({"device": "cuda"}, 2, "cannot run taggers on cuda"),
        ({"use_quality_tags": True}, 0, "does not tell that"),
        ({"tag_replacement": "nothing,x"}, 0, "never writes 'nothing'"),
    ],
)
def test_a_check_says_what_would_be_done_and_writes_nothing(
    job: Bench,
    options: dict[str, object],
    code: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pictures = options.pop("train_data_dir", None)
    bench = job if pictures is None else tagging(job.place / str(pictures), job.place, job.place)
    assert bench.run(check_only=True, **options) == code
    told = capsys.readouterr()
    assert words in told.out + told.err
    assert job.texts() == {}
    assert not job.folder().path.exists()


def test_several_processes_are_refused(
    job: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert job.run() == 2
    assert "Several processes" in capsys.readouterr().err
