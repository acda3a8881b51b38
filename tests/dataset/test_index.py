"""The picture index: what it knows, what it must not believe, and what can't break it."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path

import pytest

from sd_scripts.dataset import index as index_module
from sd_scripts.dataset.index import Known, PictureIndex, Stamp, hash_file
from sd_scripts.dataset.pictures import PictureInfo
from tests.dataset.zoo import put

INFO = PictureInfo((640, 480), "RGB", "PNG", 1, True)
GOOD, BAD = Known(INFO), Known(None, "is cut off", "copy it again")
STAMP = Stamp(100, 5_000_000_001)
FOLDER = Path("/pictures/10_cat")


def test_what_was_remembered_is_known_in_the_next_run(tmp_path):
    PictureIndex(tmp_path).remember(FOLDER, {"a.png": (STAMP, GOOD), "b.png": (STAMP, BAD)})
    known = PictureIndex(tmp_path).lookup(FOLDER, {"a.png": STAMP, "b.png": STAMP, "c": STAMP})
    assert known == {"a.png": GOOD, "b.png": BAD}


@pytest.mark.parametrize("stamp", [Stamp(101, STAMP.mtime_ns), Stamp(100, STAMP.mtime_ns + 1)])
def test_a_changed_file_is_not_known(tmp_path, stamp):
    index = PictureIndex(tmp_path)
    index.remember(FOLDER, {"a.png": (STAMP, GOOD)})
    assert index.lookup(FOLDER, {"a.png": stamp}) == {}


def test_folders_are_apart_and_relative_paths_are_the_same_as_absolute(tmp_path, monkeypatch):
    index = PictureIndex(tmp_path)
    monkeypatch.chdir(tmp_path)
    index.remember(Path("one"), {"a.png": (STAMP, GOOD)})
    assert index.lookup(tmp_path / "one", {"a.png": STAMP}) == {"a.png": GOOD}
    assert index.lookup(tmp_path / "two", {"a.png": STAMP}) == {}


def test_files_that_are_gone_are_forgotten(tmp_path):
    index = PictureIndex(tmp_path)
    index.remember(FOLDER, {"a.png": (STAMP, GOOD), "b.png": (STAMP, GOOD)})
    index.forget_others(FOLDER, ["a.png"])
    assert index.lookup(FOLDER, {"a.png": STAMP, "b.png": STAMP}) == {"a.png": GOOD}


@pytest.mark.parametrize("name", ["кошка 🐈.png", os.fsdecode(b"\xff\xfe.png"), 'it\'s "odd".png'])
def test_every_name_can_be_kept(tmp_path, name):
    index = PictureIndex(tmp_path)
    index.remember(FOLDER, {name: (STAMP, GOOD)})
    assert index.lookup(FOLDER, {name: STAMP}) == {name: GOOD}
    assert index.problem is None


def test_hashes_are_of_the_contents_and_computed_once(tmp_path, monkeypatch):
    one = put(tmp_path / "in", "one.png", b"same bytes")
    two = put(tmp_path / "in", "two.png", b"same bytes")
    other = put(tmp_path / "elsewhere", "one.png", b"other bytes")
    told: list[tuple[int, int]] = []
    index = PictureIndex(tmp_path / "cache")
    hashes = index.content_hashes([one, two, other], lambda *done: told.append(done))
    assert hashes[one] == hashes[two] != hashes[other]
    assert hashes[one] == hash_file(one) == "3188eb33425679102a99ad36f762990f"
    assert told[-1] == (3, 3)
    monkeypatch.setattr(index_module, "hash_file", lambda path: pytest.fail("hashed again"))
    assert PictureIndex(tmp_path / "cache").content_hashes([one]) == {one: hashes[one]}


def test_an_edited_file_gets_a_new_hash(tmp_path):
    path = put(tmp_path, "a.png", b"before")
    index = PictureIndex(tmp_path / "cache")
    before = index.content_hashes([path])[path]
    path.write_bytes(b"after!")
    os.utime(path, ns=(1, 1))
    assert index.content_hashes([path])[path] != before


def test_hashing_a_missing_file_is_an_os_error_and_keeps_the_others(tmp_path):
    path = put(tmp_path, "a.png")
    index = PictureIndex(tmp_path / "cache")
    with pytest.raises(FileNotFoundError):
        index.content_hashes([path, tmp_path / "gone.png"])
    assert index.content_hashes([path])[path] == hash_file(path)


def damage_text(path: Path) -> None:
    path.write_bytes(b"this is not a database at all" * 100)


def damage_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:] = b"\xaa" * (len(data) - 100)
    path.write_bytes(bytes(data))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def other_tables(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript("DROP TABLE pictures; CREATE TABLE pictures (folder BLOB)")
    db.close()


def other_version(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


@pytest.mark.parametrize(
    "damage", [damage_text, damage_middle, cut_off, other_tables, other_version, Path.touch]
)
def test_a_damaged_index_is_made_anew(tmp_path, damage):
    index = PictureIndex(tmp_path)
    index.remember(FOLDER, {f"{i}.png": (STAMP, GOOD) for i in range(200)})
    index.path.with_name(index.path.name + "-wal").unlink(missing_ok=True)
    damage(index.path)
    fresh = PictureIndex(tmp_path)
    fresh.lookup(FOLDER, {"1.png": STAMP})
    fresh.remember(FOLDER, {"new.png": (STAMP, GOOD)})
    assert fresh.problem is None
    assert fresh.lookup(FOLDER, {"new.png": STAMP}) == {"new.png": GOOD}


def test_an_index_that_cannot_be_written_is_done_without_and_told(tmp_path):
    blocker = put(tmp_path, "file", b"not a folder")
    index = PictureIndex(blocker / "cache")
    index.remember(FOLDER, {"a.png": (STAMP, GOOD)})
    assert index.lookup(FOLDER, {"a.png": STAMP}) == {}
    assert index.problem is not None
    assert (index.problem.severity, index.problem.option) == ("warning", "cache_dir")
    path = put(tmp_path, "a.png")
    assert index.content_hashes([path])[path] == hash_file(path)


@pytest.mark.parametrize(
    "reason", ["database is locked", "attempt to write a readonly database", "disk is full"]
)
def test_trouble_of_the_disk_is_told_and_destroys_nothing(tmp_path, monkeypatch, reason):
    index = PictureIndex(tmp_path)
    index.remember(FOLDER, {"a.png": (STAMP, GOOD)})
    connect = sqlite3.connect

    def refuse(*args, **kwargs):
        raise sqlite3.OperationalError(reason)

    monkeypatch.setattr(sqlite3, "connect", refuse)
    assert index.lookup(FOLDER, {"a.png": STAMP}) == {}
    assert index.problem is not None
    assert reason in index.problem.message
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert PictureIndex(tmp_path).lookup(FOLDER, {"a.png": STAMP}) == {"a.png": GOOD}


def _write_many(cache_dir: Path, writer: int) -> None:
    index = PictureIndex(cache_dir)
    for number in range(15):
        index.remember(FOLDER, {f"{writer}-{number}.png": (STAMP, GOOD)})
    assert index.problem is None


def test_several_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    names = {f"{writer}-{number}.png": STAMP for writer in range(3) for number in range(15)}
    assert len(PictureIndex(tmp_path).lookup(FOLDER, names)) == 45


def test_the_default_place_is_the_users_cache_folder():
    assert PictureIndex().path.parent == index_module.cache_folder()
