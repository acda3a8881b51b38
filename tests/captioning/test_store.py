"""Where texts go: merged, never lost, in files that fine-tuning reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sd_scripts.captioning import store as module
from sd_scripts.captioning.pictures import Picture
from sd_scripts.captioning.store import (
    CaptionFiles,
    MetadataFile,
    Result,
    merge_lines,
    merge_tags,
    read_metadata,
)
from sd_scripts.errors import UserError
from sd_scripts.runs.events import EndEvent, EventWriter
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.undo import UndoJournal, undo


def picture(folder: Path, name: str) -> Picture:
    return Picture(folder / f"{name}.png", folder / f"{name}.txt")


@pytest.mark.parametrize(
    ("there", "new", "merged"),
    [
        ("a, b", "b, c", "a, b, c"),
        ("a,b,,b", "c, c", "a, b, b, c"),
        ("", "a", "a"),
        ("a, b\nsecond line", "c", "a, b, c\nsecond line"),
    ],
)
def test_tags_are_added_once_and_further_lines_stay(there: str, new: str, merged: str) -> None:
    assert merge_tags(", ")(there, new) == merged


def test_tags_may_be_separated_by_blanks() -> None:
    assert merge_tags(" ")("a b", "b c") == "a b c"


def test_captions_are_added_as_lines() -> None:
    assert merge_lines("one\ntwo", "three") == "one\ntwo\nthree"
    assert merge_lines("one\ntwo", "two") == "one\ntwo"


def test_caption_files(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("a, b\n", "utf-8")
    (tmp_path / "blank.txt").write_text(" \n", "utf-8")
    (tmp_path / "odd.txt").write_bytes("ふ".encode("shift-jis") * 3)
    files = CaptionFiles(UndoJournal(tmp_path / "undo"), merge_tags(", "))
    names = ("old", "blank", "odd", "fresh")
    assert [files.has_text(picture(tmp_path, name)) for name in names] == [True, False, True, False]
    refused = files.write([Result(picture(tmp_path, name), "b, c", (1, 1)) for name in names])
    assert (tmp_path / "old.txt").read_bytes() == b"a, b, c\n"
    assert (tmp_path / "blank.txt").read_bytes() == b"b, c\n"
    assert (tmp_path / "fresh.txt").read_bytes() == b"b, c\n"
    # What cannot be understood cannot be added to, and stays.
    (problem,) = refused.values()
    assert "odd.txt" in problem.message
    assert (tmp_path / "odd.txt").read_bytes() == "ふ".encode("shift-jis") * 3


def test_a_caption_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    files = CaptionFiles(UndoJournal(tmp_path / "undo"))
    results = [Result(picture(tmp_path, name), "x", (1, 1)) for name in ("a", "b")]
    ((owner, problem),) = files.write(results).items()
    assert owner == picture(tmp_path, "a").path
    assert "a.txt can't be written" in problem.message
    assert (tmp_path / "b.txt").read_text() == "x\n"


def test_a_caption_that_somebody_changes_during_the_work_is_theirs(tmp_path: Path) -> None:
    for name in ("a", "b", "d"):
        (tmp_path / f"{name}.txt").write_text("old\n")
    pictures = [picture(tmp_path, name) for name in ("a", "b", "c", "d")]
    results = [Result(one, "new", (1, 1)) for one in pictures]
    files = CaptionFiles(UndoJournal(tmp_path / "undo"))
    files.begin(pictures)
    (tmp_path / "b.txt").write_text("theirs\n")
    (tmp_path / "c.txt").write_text("made meanwhile\n")
    (tmp_path / "d.txt").unlink()
    refused = files.write(results)
    assert [path.stem for path in refused] == ["b", "c", "d"]
    assert all("was changed while this job was at work" in p.message for p in refused.values())
    found = {path.name: path.read_text() for path in tmp_path.glob("*.txt")}
    assert found == {"a.txt": "new\n", "b.txt": "theirs\n", "c.txt": "made meanwhile\n"}
    # What is added to is read at that moment, so nothing of theirs can be lost.
    adding = CaptionFiles(UndoJournal(tmp_path / "undo2"), merge_tags(", "))
    adding.begin(pictures)
    (tmp_path / "b.txt").write_text("theirs again\n")
    assert adding.write(results[1:2]) == {}
    assert (tmp_path / "b.txt").read_text() == "theirs again, new\n"


def test_a_metadata_file_that_somebody_changes_during_the_work_keeps_theirs(
    tmp_path: Path,
) -> None:
    run = RunFolder(tmp_path / "run")
    run.make_folders()
    path = tmp_path / "m.json"
    path.write_text('{"x.png": {"tags": "x"}}')
    store = MetadataFile(path, "tags", UndoJournal(run.undo))
    one, two = picture(tmp_path, "one"), picture(tmp_path, "two")
    store.write([Result(one, "a", (1, 1))])
    store.save()
    theirs = {**read_metadata(path), "y.png": {"tags": "their own"}}
    path.write_text(json.dumps(theirs))
    store.write([Result(two, "b", (2, 2))])
    store.close()
    names = {name: entry["tags"] for name, entry in read_metadata(path).items()}
    assert names == {"x.png": "x", str(one.path): "a", "y.png": "their own", str(two.path): "b"}
    with EventWriter(run.events) as events:
        events.emit(EndEvent(status="finished"))
    # Undo goes back to what they wrote, not to before it.
    assert undo(run).restored == [path]
    assert read_metadata(path) == theirs


def test_a_disk_that_is_gone_ends_the_work(tmp_path: Path) -> None:
    files = CaptionFiles(UndoJournal(tmp_path / "undo"))
    with pytest.raises(FileNotFoundError):
        files.write([Result(picture(tmp_path / "gone", "a"), "x", (1, 1))])


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_one_file_for_all(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"meta{suffix}"
    one, two = picture(tmp_path, "one"), picture(tmp_path, "zwei ä")

    def open_file(
        kind: module.TextKind = "tags", merge: module.Merge | None = None
    ) -> MetadataFile:
        return MetadataFile(path, kind, UndoJournal(tmp_path / "undo"), merge)

    first = open_file()
    first.write([Result(one, "a, b", (3, 4))])
    assert not path.exists()
    first.close()
    second = open_file("caption")
    assert not second.has_text(one)
    second.write([Result(two, "a house", (5, 6))])
    second.close()
    third = open_file("tags", merge_tags(", "))
    assert third.has_text(one)
    third.write([Result(one, "c", (3, 4)), Result(two, "d", (5, 6))])
    third.close()
    assert read_metadata(path) == {
        str(one.path): {"tags": "a, b, c", "image_size": [3, 4]},
        str(two.path): {"caption": "a house", "tags": "d", "image_size": [5, 6]},
    }
    text = path.read_text("utf-8")
    assert "zwei ä" in text
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
        assert [row["image_path"] for row in rows] == [str(one.path), str(two.path)]
    else:
        assert list(json.loads(text)) == [str(one.path), str(two.path)]


def test_a_long_work_saves_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAVE_EVERY_SECONDS", -1.0)
    store = MetadataFile(tmp_path / "m.json", "tags", UndoJournal(tmp_path / "undo"))
    store.write([Result(picture(tmp_path, "a"), "x", (1, 1))])
    assert len(read_metadata(tmp_path / "m.json")) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", "{"),
        ("m.json", "[1]"),
        ("m.json", '{"a": 1}'),
        ("m.jsonl", "{}\n"),
        ("m.jsonl", "x\n"),
    ],
)
def test_a_file_that_is_no_metadata_is_left_alone(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="no metadata file") as caught:
        read_metadata(tmp_path / name)
    assert caught.value.problems[0].option == "output_path"
