"""Names of what a browser sends: a picture and its caption stay together, whatever is there."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from threading import Thread

import pytest

import kohya_gui
from kohya_gui.browse import PICTURE_SUFFIXES
from kohya_gui.context import Context
from kohya_gui.guided.uploads import Captioned, Piece, take_piece, upload_folder
from sd_scripts.dataset.caption_files import caption_names
from sd_scripts.dataset.faces import face_box
from sd_scripts.errors import UserError

CHINESE = "一只猫坐在窗边看着外面的雨天空很暗但是房间里很温暖还有一盏灯"


@pytest.fixture
def folder(context: Context) -> Path:
    return upload_folder(context.workspace, "0" * 16, "my cat")


def send(folder: Path, name: str, content: str, beside: str = "", captioned: Captioned = "") -> str:
    """Send a whole file; return the stem that it got."""
    data = base64.b64encode(content.encode()).decode("ascii")
    path = take_piece(folder, Piece(name, 0, len(content), data, content, beside, captioned))
    assert path is not None
    return path.stem


def pair(folder: Path, picture: str, caption: str, name: str = "1") -> str:
    """Send a picture and its caption as the page does; return the stem of both."""
    stem = send(folder, f"{name}.png", picture, captioned="own")
    assert send(folder, f"{name}.txt", caption, beside=stem) == stem
    return stem


def held(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_caption_follows_its_picture_and_not_one_of_the_same_name(folder: Path) -> None:
    send(folder, "1.png", "A")
    assert pair(folder, "B", "b") == "1-2"
    assert pair(folder, "C", "b") == "1-3"
    assert held(folder) == {
        "1.png": "A",
        "1-2.png": "B",
        "1-2.txt": "b",
        "1-3.png": "C",
        "1-3.txt": "b",
    }


def test_a_name_with_another_ending_is_taken_too(folder: Path) -> None:
    pair(folder, "A", "a")
    assert send(folder, "1.JPG", "B") == "1-2"
    stem = send(folder, "1.webp", "C", captioned="own")
    assert send(folder, "1.jpg", "D", beside=stem, captioned="own") == stem == "1-3"
    assert send(folder, "1.txt", "c", beside=stem) == stem


def test_captions_that_come_first_are_for_pictures_without(folder: Path) -> None:
    send(folder, "1.txt", "first")
    assert pair(folder, "B", "b") == "1-2"
    assert send(folder, "1.png", "A") == "1"
    assert held(folder) == {"1.txt": "first", "1.png": "A", "1-2.png": "B", "1-2.txt": "b"}


def test_the_same_picture_once_more_keeps_its_words(folder: Path) -> None:
    pair(folder, "A", "a")
    assert pair(folder, "A", "a") == "1"
    assert send(folder, "1.png", "A", captioned="own") == "1"
    with pytest.raises(UserError, match="other words"):
        send(folder, "1.txt", "changed", beside="1")
    with pytest.raises(UserError, match="other words"):
        send(folder, "1.txt", "changed")
    assert held(folder) == {"1.png": "A", "1.txt": "a"}


def test_two_tabs_do_not_take_one_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move, other = os.replace, Thread(target=send, args=(folder, "1.png", "B"))

    def meanwhile(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "replace", move)
        other.start()
        other.join(0.3)
        move(source, target)

    monkeypatch.setattr(os, "replace", meanwhile)
    send(folder, "1.png", "A")
    other.join(60)
    assert held(folder) == {"1.png": "A", "1-2.png": "B"}


def test_what_a_name_tells_of_a_face_is_told_by_the_new_name_too(folder: Path) -> None:
    face = "_9_8_7_6"
    assert send(folder, f"a{face}.png", "A") == f"a{face}"
    assert pair(folder, "B", "b", f"a{face}") == f"a-2{face}"
    assert send(folder, "a_9_8_7_0.png", "C") == "a_9_8_7_0"  # tells of none
    assert send(folder, "a_9_8_7_0.png", "D") == "a_9_8_7_0-2"
    assert all(face_box(folder / f"{stem}{face}.png") for stem in ("a", "a-2"))


def test_pictures_of_faces_share_the_caption_of_their_own_drop(folder: Path) -> None:
    pair(folder, "A", "a")
    first = send(folder, "1_9_8_7_6.png", "B", captioned="shared")
    assert first == "1-2_9_8_7_6"
    assert send(folder, "1_5_5_5_5.png", "C", beside="1-2", captioned="shared") == "1-2_5_5_5_5"
    assert send(folder, "1.txt", "b", beside="1-2") == "1-2"
    found = next(n for n in caption_names(first, ".txt") if (folder / n).exists())
    assert (folder / found).read_text() == "b"
    # A caption that would be read for a face of somebody else gets another name, too.
    send(folder, "2_9_8_7_6.png", "D")
    assert pair(folder, "E", "e", "2") == "2-2"


@pytest.mark.parametrize(
    "name",
    [CHINESE, "x" * 200, "con", ".hidden", "a.b ", "é" * 60, "x" * 90 + "_9_8_7_6", "_9_8_7_6"],
    ids=["Chinese", "long", "device", "hidden", "blank", "accents", "face", "face alone"],
)
def test_a_long_name_keeps_its_ending_and_its_caption(folder: Path, name: str) -> None:
    first, second = pair(folder, "A", "a", name), pair(folder, "B", "b", name)
    assert first != second
    assert held(folder) == {
        f"{first}.png": "A",
        f"{first}.txt": "a",
        f"{second}.png": "B",
        f"{second}.txt": "b",
    }


def test_the_page_knows_every_ending_of_a_picture() -> None:
    script = Path(kohya_gui.__file__).parent / "assets" / "js" / "uploads.js"
    found = re.search(r"PICTURE = /(.+)/i;", script.read_text("utf-8"))
    assert found
    assert all(re.search(found[1], f"a{suffix}") for suffix in PICTURE_SUFFIXES)


def test_page_and_program_agree_on_what_a_face_is() -> None:
    script = Path(kohya_gui.__file__).parent / "assets" / "js" / "uploads.js"
    found = re.search(r"FACE = /(.+)/;", script.read_text("utf-8"))
    assert found
    stems = ["a_9_8_7_6", "a_0_0_1_1", "a_9_8_0_6", "a_9_8_7_00", "shot_2024_01_31_00", "a_8_7_6"]
    stems += ["a_20240131_9_8_7_6", "a_9_8_7_123456", "_9_8_7_6", "a_b_9_8_10_20", "a_9_8_7_6x"]
    faces = {stem for stem in stems if face_box(Path(f"{stem}.png"))}
    assert {stem for stem in stems if re.search(found[1], stem)} == faces - {"_9_8_7_6"}
