"""The file chooser: what is there, what it is, and no way out of the roots."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import kohya_gui.browse as browse
from kohya_gui.browse import Browser, Entry, Listing
from sd_scripts.errors import UserError

posix = pytest.mark.skipif(sys.platform == "win32", reason="file names of POSIX")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "pictures ü"
    (made / "10_cat").mkdir(parents=True)
    for name in ("1.png", "2.JPG", "1.txt", ".hidden.png"):
        (made / "10_cat" / name).touch()
    (made / "9_dog").mkdir()
    (made / "model.safetensors").write_bytes(b"x" * 10)
    (made / "job.toml").touch()
    (made / "猫.webp").touch()
    (made / "notes.caption").touch()
    (made / "program.exe").touch()
    (made / ".secret").touch()
    return made


def row(listing: Listing, name: str) -> Entry:
    return next(entry for entry in listing.entries if entry.name == name)


def test_a_folder_is_listed_with_what_things_are(root: Path) -> None:
    listing = Browser([root]).list(root)
    assert [entry.name for entry in listing.entries][:2] == ["9_dog", "10_cat"]
    kinds = {entry.name: entry.kind for entry in listing.entries}
    assert kinds == {
        "9_dog": "folder",
        "10_cat": "folder",
        "model.safetensors": "model",
        "job.toml": "config",
        "猫.webp": "picture",
        "notes.caption": "text",
        "program.exe": "other",
    }
    assert row(listing, "10_cat").hint == "2 pictures"
    assert row(listing, "9_dog").hint == ""
    model = row(listing, "model.safetensors")
    assert model.size == 10
    assert model.modified > 0
    assert model.path == str(root / "model.safetensors")
    assert listing.parent is None
    assert listing.note == ""


def test_hidden_files_are_shown_when_asked_for(root: Path) -> None:
    names = {entry.name for entry in Browser([root]).list(root, show_hidden=True).entries}
    assert ".secret" in names


def test_a_model_folder_is_known(root: Path) -> None:
    (root / "9_dog" / "model_index.json").touch()
    assert row(Browser([root]).list(root), "9_dog").hint == "a diffusers model"


def test_one_goes_up_to_the_root_and_no_further(root: Path) -> None:
    browser = Browser([root])
    inside = browser.list(root / "10_cat")
    assert inside.parent == str(root)
    assert browser.list(inside.parent).parent is None
    assert [entry.path for entry in browser.top().entries] == [str(root)]


@pytest.mark.parametrize(
    "path", ["..", "10_cat/../..", "/", "/etc", "\x00", "~nobody-of-this-name/x", "../pictures ü2"]
)
def test_nothing_outside_is_listed(root: Path, path: str) -> None:
    (root.parent / "pictures ü2").mkdir()
    browser = Browser([root])
    asked = path if path.startswith(("/", "~")) else str(root / path)
    assert browser.allowed(asked) is None
    with pytest.raises(UserError, match="may look into"):
        browser.list(asked)


def test_links_out_are_shown_and_refused(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "out").symlink_to(outside, target_is_directory=True)
    (root / "passwd.txt").symlink_to("/etc/passwd")
    (root / "in").symlink_to(root / "9_dog", target_is_directory=True)
    browser = Browser([root])
    listing = browser.list(root)
    for name in ("out", "passwd.txt"):
        entry = row(listing, name)
        assert entry.problem is not None
        assert entry.size == 0
        assert browser.allowed(root / name) is None
    assert row(listing, "in").problem is None
    assert browser.allowed(root / "in") == root / "9_dog"
    with pytest.raises(UserError):
        browser.list(root / "out")


def test_links_between_two_roots_are_fine(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (root / "there").symlink_to(other, target_is_directory=True)
    assert row(Browser([root, other]).list(root), "there").problem is None


def test_broken_links_and_loops_are_told(root: Path) -> None:
    (root / "broken").symlink_to(root / "nothing")
    (root / "loop").symlink_to(root / "loop")
    listing = Browser([root]).list(root)
    assert row(listing, "broken").problem is not None
    assert row(listing, "loop").problem is not None


def test_a_folder_to_be_made_is_judged_by_its_place(root: Path) -> None:
    browser = Browser([root])
    assert browser.allowed(root / "new" / "deep") == root / "new" / "deep"
    assert browser.allowed(root / "new" / ".." / ".." / "x") is None


def test_what_is_not_there_or_no_folder_is_told(root: Path) -> None:
    browser = Browser([root])
    with pytest.raises(UserError, match="is not there"):
        browser.list(root / "nothing")
    with pytest.raises(UserError, match="is a file"):
        browser.list(root / "job.toml")


def test_a_folder_that_may_not_be_read_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "9_dog":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(browse.os, "scandir", refuse)
    browser = Browser([root])
    assert row(browser.list(root), "9_dog").problem == "It may not be opened."
    assert row(browser.list(root), "10_cat").problem is None
    with pytest.raises(UserError, match="Permission denied"):
        browser.list(root / "9_dog")


@posix
def test_pipes_are_no_files(root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert row(Browser([root]).list(root), "pipe").problem == "Not a file that can be read."


@posix
def test_a_name_that_is_no_unicode_is_told(root: Path) -> None:
    try:
        (Path(os.fsdecode(os.fsencode(root) + b"/bad\xff.png"))).touch()
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    listing = Browser([root]).list(root)
    [bad] = [entry for entry in listing.entries if entry.name.startswith("bad")]
    assert bad.problem is not None
    assert bad.path == ""
    bad.name.encode("utf-8")


def test_a_huge_folder_is_cut_and_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse, "MAX_ENTRIES", 3)
    listing = Browser([root]).list(root)
    assert len(listing.entries) == 3
    assert listing.note == "4 more entries are not shown."


def test_counting_stops_in_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browse, "MAX_LOOKS", 10)
    for number in range(30):
        (root / "9_dog" / f"{number}.png").touch()
    listing = Browser([root]).list(root)
    assert row(listing, "9_dog").hint == "at least 10 pictures"
    assert row(listing, "10_cat").hint == ""


def test_a_missing_root_is_shown_as_such(root: Path, tmp_path: Path) -> None:
    browser = Browser([root, tmp_path / "unplugged"])
    assert browser.roots == (root,)
    assert [entry.problem for entry in browser.top().entries] == [
        None,
        "This folder is not there.",
    ]
