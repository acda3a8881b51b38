"""Undo and redo of caption edits: bytes come back, and nobody's work is overwritten."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kohya_gui.datasets.captions import CaptionBook
from kohya_gui.datasets.history import EditHistory
from sd_scripts.dataset.caption_edit import edit_of

NAMES = ("a.txt", "b.txt", "c.txt")
BYTES = st.one_of(st.none(), st.text(st.sampled_from("ab, é\r\n"), max_size=12).map(str.encode))
EDITS = st.sampled_from(
    [
        {"kind": "add", "tags": "a, x"},
        {"kind": "remove", "tags": "a"},
        {"kind": "replace", "tags": "b", "new": "c, a"},
        {"kind": "sort"},
        {"kind": "sort", "by": "often", "keep_first": 1},
        {"kind": "dedupe"},
        {"kind": "prefix", "text": "photo of"},
        {"kind": "postfix", "text": ", end"},
        {"kind": "find", "find": "b", "replacement": "写"},
    ]
)


def book_of(folder: Path) -> CaptionBook:
    (folder / "data").mkdir(exist_ok=True)
    return CaptionBook(folder / "data", EditHistory(folder / "history"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "data").iterdir()}


def apply(book: CaptionBook, folder: Path, edit: dict[str, object]) -> None:
    captions = [book.read(folder / "data" / name) for name in NAMES]
    results = edit_of(edit).apply([one.captions for one in captions])
    files, marks = {}, {}
    for one, result in zip(captions, results, strict=True):
        assert one.text is not None
        new = one.text.with_captions(result)
        if new is not one.text:
            files[one.path], marks[one.path] = new, one.mark
    book.write("edit", files, marks)


@settings(max_examples=25, deadline=None)
@given(st.tuples(BYTES, BYTES, BYTES), st.lists(EDITS, min_size=1, max_size=4))
def test_undo_gives_every_byte_back_and_redo_does_it_again(
    before: tuple[bytes | None, ...], edits: list[dict[str, object]]
) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        book = book_of(folder)
        for name, data in zip(NAMES, before, strict=True):
            if data is not None:
                (folder / "data" / name).write_bytes(data)
        states = [content(folder)]
        for edit in edits:
            apply(book, folder, edit)
            if content(folder) != states[-1]:
                states.append(content(folder))
        for state in states[-2::-1]:
            assert book.undo() is not None
            assert content(folder) == state
        assert book.undo() is None
        # Another session goes on from the disk alone.
        book = book_of(folder)
        for state in states[1:]:
            assert book.redo() is not None
            assert content(folder) == state
        assert book.redo() is None


def test_what_somebody_changed_meanwhile_is_never_overwritten(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    file = tmp_path / "data" / "a.txt"
    file.write_text("mine")
    known = book.read(file)
    assert known.text is not None
    file.write_text("theirs")
    written = book.write("edit", {file: known.text.with_captions(["new"])}, {file: known.mark})
    assert (written.num_written, written.changed) == (0, [file])
    assert file.read_text() == "theirs"
    assert book.steps()["count"] == 0


def test_undo_leaves_alone_what_was_changed_afterwards(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    apply(book, tmp_path, {"kind": "add", "tags": "x"})
    (tmp_path / "data" / "a.txt").write_text("theirs")
    turned = book.undo()
    assert turned is not None
    assert turned[1].changed_since == [tmp_path / "data" / "a.txt"]
    assert content(tmp_path) == {"a.txt": b"theirs"}


def test_a_new_edit_takes_the_place_of_what_was_undone(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    apply(book, tmp_path, {"kind": "add", "tags": "x"})
    apply(book, tmp_path, {"kind": "add", "tags": "y"})
    book.undo()
    apply(book, tmp_path, {"kind": "add", "tags": "z"})
    assert book.redo() is None
    assert book.steps()["count"] == 2
    assert (tmp_path / "data" / "a.txt").read_text() == "x, z\n"


def test_links_are_followed_within_the_data_set_and_never_replaced(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    outside = tmp_path / "outside.txt"
    outside.write_text("private")
    (tmp_path / "data" / "real.txt").write_text("real")
    (tmp_path / "data" / "a.txt").symlink_to(tmp_path / "data" / "real.txt")
    (tmp_path / "data" / "b.txt").symlink_to(outside)
    inner, outer = (book.read(tmp_path / "data" / name) for name in ("a.txt", "b.txt"))
    assert inner.text is not None
    assert (outer.text, outer.problem) == (None, "is a link to a file outside")
    new = inner.text.with_captions(["new"])
    files = {inner.path: new, outer.path: new}
    written = book.write("edit", files, {inner.path: inner.mark, outer.path: outer.mark})
    assert written.num_written == 1
    assert list(written.failed) == [outer.path]
    assert outside.read_text() == "private"
    assert (tmp_path / "data" / "real.txt").read_text() == "new"
    assert (tmp_path / "data" / "a.txt").is_symlink()


@pytest.mark.parametrize("data", [b"\x89PNG\0", b"x" * 1_000_001])
def test_what_is_no_caption_is_told_and_kept(tmp_path: Path, data: bytes) -> None:
    book = book_of(tmp_path)
    file = tmp_path / "data" / "a.txt"
    file.write_bytes(data)
    known = book.read(file)
    assert known.text is None
    assert known.problem


def test_a_huge_file_is_not_read_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = book_of(tmp_path)
    file = tmp_path / "data" / "a.txt"
    with open(file, "wb") as huge:
        huge.truncate(1_000_001)

    def must_not(self: Path) -> bytes:
        raise AssertionError(f"{self} was read")

    monkeypatch.setattr(Path, "read_bytes", must_not)
    assert book.read(file).problem == "is larger than a megabyte"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A folder stands where the file would be: no system lets a file take its place."""
    book = book_of(tmp_path)
    file = tmp_path / "data" / "a.txt"
    known = book.read(file)
    assert known.text is not None
    new = known.text.with_captions(["new"])
    file.mkdir()
    written = book.write("edit", {file: new}, {file: known.mark})
    assert written.num_written == 0
    assert file in written.failed


def test_an_edit_that_was_cut_off_is_undone_and_outlives_the_next_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = book_of(tmp_path)
    for name in NAMES:
        (tmp_path / "data" / name).write_text(name)
    before = content(tmp_path)
    written: list[Path] = []

    def dies_at_the_second(path: Path, data: bytes, *, durable: bool) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr("sd_scripts.runs.undo.write_atomic", dies_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            apply(book, tmp_path, {"kind": "add", "tags": "x"})
    assert content(tmp_path) != before
    book = book_of(tmp_path)
    apply(book, tmp_path, {"kind": "add", "tags": "y"})
    assert book.steps()["count"] == 2
    assert book.undo() is not None
    assert book.undo() is not None
    assert content(tmp_path) == before


def test_a_step_that_could_not_be_noted_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = book_of(tmp_path)
    apply(book, tmp_path, {"kind": "add", "tags": "x"})
    before = content(tmp_path)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("sd_scripts.runs.undo.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            apply(book, tmp_path, {"kind": "add", "tags": "y"})
    assert content(tmp_path) == before
    assert book.steps()["count"] == 1


def test_an_undo_that_failed_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = book_of(tmp_path)
    apply(book, tmp_path, {"kind": "add", "tags": "x"})

    def locked(self: Path, **_: object) -> None:
        raise PermissionError(13, "locked")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", locked)
        turned = book.undo()
    assert turned is not None
    assert len(turned[1].failed) == len(NAMES)
    turned = book.undo()
    assert turned is not None
    assert content(tmp_path) == {}


def test_what_is_kept_can_be_thrown_away_and_the_captions_stay(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    assert book.kept() == (0, 0)
    book.forget_steps()
    for tags in ("x", "y"):
        apply(book, tmp_path, {"kind": "add", "tags": tags})
    assert book.undo() is not None
    count, size = book.kept()
    assert count == 2
    kept = sum(one.stat().st_size for one in (tmp_path / "history").glob("*/*"))
    assert size == kept > 0
    before = content(tmp_path)
    book.forget_steps()
    assert book.kept() == (0, 0)
    assert book.undo() is None
    assert book.redo() is None
    assert content(tmp_path) == before
    apply(book, tmp_path, {"kind": "add", "tags": "z"})
    assert book.undo() is not None
    assert content(tmp_path) == before
