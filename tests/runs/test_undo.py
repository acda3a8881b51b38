"""Undo: what a run changed comes back byte for byte; what others changed since stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sd_scripts.errors import UserError
from sd_scripts.runs.events import EndEvent, EventWriter
from sd_scripts.runs.folder import RunFolder
from sd_scripts.runs.undo import UndoJournal, clear, main, read_changes, redo, undo

OLD = "täg, old\r\n".encode()
NOT_TEXT = b"\xff\xfe\x00binary"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.make_folders()
    writer = EventWriter(run.events)
    writer.emit(EndEvent(status="finished"))
    writer.close()
    return run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "pictures ä"
    place.mkdir()
    (place / "old.txt").write_bytes(OLD)
    (place / "odd.txt").write_bytes(NOT_TEXT)
    return place


def contents(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


def change(run: RunFolder, place: Path) -> None:
    files = {place / name: b"new\n" for name in ("old.txt", "odd.txt", "fresh.txt")}
    assert UndoJournal(run.undo).write(files) == {}


def test_everything_comes_back_and_goes_again(run: RunFolder, place: Path) -> None:
    before = contents(place)
    change(run, place)
    after = contents(place)
    assert set(after.values()) == {b"new\n"}
    for _ in range(2):
        assert len(undo(run).restored) == 3
        assert contents(place) == before
        assert undo(run).restored == []
        assert len(redo(run).restored) == 3
        assert contents(place) == after


def test_what_somebody_changed_since_stays(run: RunFolder, place: Path) -> None:
    change(run, place)
    (place / "old.txt").write_bytes(b"mine")
    (place / "fresh.txt").unlink()
    report = undo(run)
    assert report.changed_since == [place / "old.txt"]
    assert report.unchanged == [place / "fresh.txt"]
    assert contents(place) == {"odd.txt": NOT_TEXT, "old.txt": b"mine"}
    assert "old.txt" in report.text


def test_a_file_written_often_comes_back_as_it_was_first(run: RunFolder, place: Path) -> None:
    journal = UndoJournal(run.undo)
    for number in range(3):
        journal.write({place / "old.txt": b"%d" % number})
    UndoJournal(run.undo).write({place / "old.txt": b"again"})
    (only,) = read_changes(run)
    assert only.before.data == OLD
    undo(run)
    assert (place / "old.txt").read_bytes() == OLD


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_is_replaced_not_written_through(run: RunFolder, place: Path) -> None:
    (place / "link.txt").symlink_to("old.txt")
    UndoJournal(run.undo).write({place / "link.txt": b"new"})
    assert (place / "old.txt").read_bytes() == OLD
    assert not (place / "link.txt").is_symlink()
    undo(run)
    assert (place / "link.txt").is_symlink()
    assert (place / "link.txt").read_bytes() == OLD


def test_what_cannot_be_written_is_told_and_the_rest_is_written(
    run: RunFolder, place: Path
) -> None:
    (place / "folder.txt").mkdir()
    failed = UndoJournal(run.undo).write({place / "folder.txt": b"x", place / "old.txt": b"x"})
    assert list(failed) == [place / "folder.txt"]
    assert (place / "old.txt").read_bytes() == b"x"


def test_a_line_cut_off_by_a_power_cut_is_passed_over(run: RunFolder, place: Path) -> None:
    change(run, place)
    with open(run.undo / "changes.jsonl", "ab") as file:
        file.write(b'{"path": "/x')
    assert len(read_changes(run)) == 3


def test_nothing_is_put_back_while_the_run_is_at_work(run: RunFolder, place: Path) -> None:
    change(run, place)
    run.events.unlink()
    for action in (undo, redo, clear):
        with pytest.raises(UserError, match="still at work"):
            action(run)


def test_the_command(
    run: RunFolder, place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = contents(place)
    assert main([str(run.path)]) == 2  # nothing was changed yet
    change(run, place)
    assert main([str(run.path), "--list"]) == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()] == ["changed", "changed", "new"]
    assert main([str(run.path)]) == 0
    assert contents(place) == before
    assert "3 files put back as before." in capsys.readouterr().out
    assert main([str(run.path), "--redo"]) == 0
    assert main([str(run.path), "--clear"]) == 0
    assert read_changes(run) == []
