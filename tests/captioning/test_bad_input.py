"""What people's folders hold: unreadable, huge, oddly named, changing while one looks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sd_scripts.captioning import work
from sd_scripts.dataset import large_pictures, pictures
from sd_scripts.dataset.listing import Listing
from sd_scripts.runs.events import CaptionEvent
from tests.captioning.jobs import Bench, tagging
from tests.dataset.test_large_pictures import bomb
from tests.support.tiny_captioning import make_mapping_tagger, make_tagger, paint


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tagger(tmp_path_factory.mktemp("tagger"))


@pytest.fixture
def job(tmp_path: Path, tagger: Path) -> Bench:
    return tagging(paint(tmp_path / "pictures", "red.png"), tmp_path, tagger)


def test_a_folder_that_may_not_be_read(
    job: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(folder: Path) -> Listing:
        raise PermissionError(13, "Permission denied", str(folder))

    # Not by taking rights away: tests may run as root, whom nothing is refused.
    monkeypatch.setattr("sd_scripts.captioning.pictures.list_folder", refuse)
    assert job.run() == 2
    assert "can't be read (Permission denied)" in capsys.readouterr().err
    assert job.texts() == {}


def test_a_folder_without_pictures(job: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (job.pictures / "red.png").unlink()
    (job.pictures / "notes.txt").write_text("nothing to see")
    assert job.run() == 2
    assert "no pictures in" in capsys.readouterr().err


def test_a_huge_picture_is_refused_or_scaled_and_a_bomb_is_refused(
    job: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb(job.pictures / "bomb.png", 50_000)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 40_000)
    monkeypatch.setattr(large_pictures, "ENOUGH_PIXELS", 10_000)
    Image.fromarray(np.full((200, 400, 3), (0, 0, 255), np.uint8)).save(job.pictures / "wide.jpg")
    assert job.run("refused") == 0
    assert not (job.pictures / "wide.txt").exists()
    told = job.warnings("refused")
    assert len(told) == 2
    assert "bomb.png" in told[0]
    assert "wide.jpg" in told[1]
    output = job.place / "all.json"
    assert job.run("scaled", large_pictures="scale", output_path=output) == 0
    assert len(job.warnings("scaled")) == 1
    assert '"image_size": [\n            400,\n            200' in output.read_text("utf-8")
    assert "blue background" in output.read_text("utf-8").replace("_", " ")


def test_names_with_line_breaks_and_other_oddities(job: Bench) -> None:
    names = ["two\nred.png", "\"quoted\" 'red'.png", "[red]*?.png", " red .png", "写真 red.png"]
    if os.name == "nt":
        names = names[3:]
    paint(job.pictures, *names)
    assert job.run() == 0
    assert sorted(job.texts()) == sorted(["red.txt", *(f"{name[:-4]}.txt" for name in names)])
    told = [event for event in job.events() if isinstance(event, CaptionEvent)]
    assert sorted(Path(event.picture).name for event in told) == sorted(["red.png", *names])
    # One event is one line, whatever stands in a name.
    assert len(job.folder().events.read_bytes().splitlines()) == len(job.events())


def test_links_out_of_the_folder_are_left_alone(job: Bench, tmp_path: Path) -> None:
    outside = paint(tmp_path / "outside", "green.png")
    (job.pictures / "away").symlink_to(outside)
    (job.pictures / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert job.run(recursive=True) == 0
    assert sorted(path.name for path in outside.iterdir()) == ["green.png"]
    assert any("leads out of the folder" in text for text in job.warnings())
    assert any("link to a file that is not there" in text for text in job.warnings())


def test_a_caption_changed_during_the_job_is_left_and_told(
    job: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = job.pictures / "red.txt"
    theirs.write_text("old\n")
    keep = work.Walk._keep

    def meanwhile(*arguments: object) -> None:
        theirs.write_text("written by hand\n")
        keep(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(work.Walk, "_keep", meanwhile)
    assert job.run() == 0
    assert job.texts() == {"red.txt": "written by hand\n"}
    assert "was changed while this job was at work" in job.warnings()[0]
    (told,) = [event for event in job.events() if isinstance(event, CaptionEvent)]
    assert not told.kept
    assert "1 text could not be written" in job.end().reason


@pytest.mark.parametrize("missing", ["model.onnx", "selected_tags.csv"])
def test_a_model_folder_that_lacks_a_file(
    tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_tagger(tmp_path / "tagger")
    (folder / missing).unlink()
    job = tagging(paint(tmp_path / "pictures", "red.png"), tmp_path, folder)
    assert job.run() == 2
    assert "a tagger is model.onnx with selected_tags.csv" in capsys.readouterr().err
    assert job.texts() == {}


def test_a_model_and_a_list_that_do_not_belong_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_mapping_tagger(tmp_path / "tagger", [("red_background", "General")])
    (folder / "tag_mapping.json").write_text(
        '{"0": {"tag": "a", "category": "General"}, "1": {"tag": "b", "category": "General"}}'
    )
    job = tagging(paint(tmp_path / "pictures", "red.png"), tmp_path, folder)
    assert job.run() == 2
    assert "gives 1 numbers, but its list has 2 tags" in capsys.readouterr().err
    assert job.texts() == {}
