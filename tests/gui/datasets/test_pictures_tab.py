"""What the pictures tab answers: rows, filters, edits with preview, bad input in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kohya_gui.context import Context
from kohya_gui.datasets.places import place_of
from kohya_gui.datasets.scan import picture_id
from kohya_gui.pages.dataset_desk import DatasetDesk
from kohya_gui.pages.dataset_pictures import PictureAnswers
from kohya_gui.quick_gradio import gr
from kohya_gui.settings import Settings, save_settings
from sd_scripts.dataset.decision_files import read_decisions
from sd_scripts.dataset.doctor.findings import Finding, Report
from tests.dataset.test_large_pictures import bomb
from tests.support.patience import eventually, last_answer

NASTY = "<img src=x onerror=alert(1)>\nsecond line.png"


class Tab:
    """The tab's answers about one folder."""

    def __init__(self, context: Context, folder: Path) -> None:
        self.folder = folder
        self.context = context
        self.place = place_of(context.workspace, folder)
        self.answers = PictureAnswers(DatasetDesk(context, gr.Textbox(visible=False)))

    def __call__(self, what: str, **data: Any) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self.answers, what)({"folder": str(self.folder), **data})
        json.dumps(answer).encode("utf-8")  # it must travel to the page
        return answer

    def look(self, **data: Any) -> dict[str, Any]:
        wish = {"offset": 0, "limit": 60, "facts": True, **data}
        return last_answer(lambda: self("look", **wish), lambda found: not found.get("working"))

    def names(self, **wish: Any) -> list[str]:
        return [row["name"] for row in self.look(**wish)["rows"]]

    def write(self, **edit: Any) -> dict[str, Any]:
        seen = self("try_change", edit=edit)
        return self("change", edit=edit, mark=seen["mark"], title="t")

    def text(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")


@pytest.fixture
def tab(context: Context, tmp_path: Path) -> Tab:
    folder = tmp_path / "set"
    (folder / "2_inner").mkdir(parents=True)
    for name, size in (("a", (96, 64)), ("b", (64, 64)), ("2_inner/c", (64, 128))):
        Image.new("RGB", size, "red").save(folder / f"{name}.png")
    (folder / "a.txt").write_text("cat, red\nsecond one\n")
    (folder / "b.txt").write_text(", ".join(["word"] * 80))
    (folder / "bad.png").write_bytes(b"no picture")
    save_settings(context.workspace, Settings(roots=(str(folder),)))
    return Tab(context, folder)


def test_rows_say_size_bucket_tokens_and_problems(tab: Tab) -> None:
    answer = tab.look()
    rows = {row["name"]: row for row in answer["rows"]}
    assert list(rows) == ["a.png", "b.png", "bad.png", "2_inner/c.png"]
    first = rows["a.png"]
    assert (first["size"], first["caption"], first["captions"]) == ((96, 64), "cat, red", 2)
    assert (first["bucket"], first["tokens"], first["enlarged"]) == ((640, 384), 3, True)
    assert first["seen"] == pytest.approx([0, 0.0504, 1, 0.8993], abs=1e-3)
    assert [code for code, _ in rows["bad.png"]["problems"]] == ["unreadable", "no_caption"]
    assert answer["facts"]["problems"] == {"unreadable": 1, "no_caption": 2, "too_long": 1}
    assert answer["facts"]["folders"] == ["", "2_inner"]


@pytest.mark.parametrize(
    ("wish", "names"),
    [
        ({"tag": "RED"}, ["a.png"]),
        ({"lacks": "red"}, ["b.png", "bad.png", "2_inner/c.png"]),
        ({"problem": "too_long"}, ["b.png"]),
        ({"problem": "no_caption"}, ["bad.png", "2_inner/c.png"]),
        ({"text": "SECOND"}, ["a.png"]),
        ({"folder_in": "2_inner"}, ["2_inner/c.png"]),
        ({"offset": 1, "limit": 1}, ["b.png"]),
        ({"state": "excluded"}, []),
    ],
)
def test_pictures_are_filtered(tab: Tab, wish: dict[str, Any], names: list[str]) -> None:
    assert tab.names(**wish) == names


def test_a_caption_is_saved_only_when_it_changed(tab: Tab) -> None:
    tab.look()
    one = {"id": picture_id("a.png")}
    shown = tab("picture", **one)
    assert shown["texts"] == ["cat, red", "second one"]
    before = (tab.folder / "a.txt").stat()
    same = tab("save", **one, texts=[" cat, red", "second one"], mark=shown["mark"])
    assert same["written"] == 0
    assert (tab.folder / "a.txt").stat().st_mtime_ns == before.st_mtime_ns
    saved = tab("save", **one, texts=["dog"], mark=shown["mark"])
    assert saved["written"] == 1
    assert tab.text("a.txt") == "dog\n"
    late = tab("save", **one, texts=["late"], mark=shown["mark"])
    assert (late["changed"], late["theirs"]) == (["a.txt"], ["dog"])
    assert tab.text("a.txt") == "dog\n"
    assert tab("save", **one, texts=["late"], mark="", force=True)["written"] == 1
    for _ in range(2):
        assert tab("turn", back=True)["restored"] == 1
    assert tab.text("a.txt") == "cat, red\nsecond one\n"


def test_many_captions_are_written_as_they_were_shown(tab: Tab) -> None:
    tab.look()
    seen = tab("try_change", edit={"kind": "add", "tags": "new"}, folder_in="")
    assert (seen["count"], seen["new_files"]) == (3, 1)
    assert seen["rows"][0]["after"] == ["cat, red, new", "second one, new"]
    (tab.folder / "a.txt").write_text("other")
    stale = tab("change", edit={"kind": "add", "tags": "new"}, folder_in="", mark=seen["mark"])
    assert stale["stale"]
    assert tab.text("a.txt") == "other"
    written = tab("change", edit={"kind": "add", "tags": "new"}, folder_in="", mark=stale["mark"])
    assert written["written"] == 3
    assert not (tab.folder / "2_inner" / "c.txt").exists()
    assert tab("turn", back=True)["restored"] == 3
    assert not (tab.folder / "bad.txt").exists()
    assert tab("turn", back=False)["restored"] == 3
    assert tab.text("bad.txt") == "new\n"


def test_what_undo_keeps_is_told_first_and_cleared_when_sure(tab: Tab) -> None:
    tab.write(kind="add", tags="new")
    told = tab("forget_steps")
    assert told["count"] == 1
    assert told["bytes"] > 0
    assert told["steps"]["undo"]
    cleared = tab("forget_steps", sure=True)
    assert cleared["steps"] == {"undo": None, "redo": None, "count": 0}
    assert "new" in tab.text("a.txt")
    assert tab("forget_steps")["count"] == 0


def test_leaving_a_picture_out_writes_the_decisions_and_no_picture(tab: Tab) -> None:
    tab.look()
    before = (tab.folder / "a.png").read_bytes()
    tab("exclude", ids=[picture_id("a.png")], exclude=True)
    assert read_decisions(tab.place.decisions).pictures["a.png"].exclude
    assert tab.names(state="excluded") == ["a.png"]
    tab("exclude", ids=[picture_id("a.png")], exclude=False)
    assert tab.names(state="excluded") == []
    assert (tab.folder / "a.png").read_bytes() == before


def test_what_the_doctor_found_stands_at_the_pictures(tab: Tab) -> None:
    path = str(tab.folder / "b.png")
    finding = Finding("blurred", "doubtful", "One picture is blurred.", (path,))
    tab.place.path.mkdir(parents=True)
    tab.place.doctor.write_text(Report(str(tab.folder), 3, "x", (finding,)).to_json())
    assert tab.look()["facts"]["problems"]["blurred"] == 1
    assert tab.names(problem="blurred") == ["b.png"]


def test_settings_are_kept(tab: Tab) -> None:
    assert tab.look()["facts"]["resolution"] == 512
    tab("settings", resolution=256, max_tokens=150, ending=".caption")
    facts = tab.look()["facts"]
    assert (facts["resolution"], facts["max_tokens"], facts["ending"]) == (256, 150, ".caption")
    assert tab("settings", resolution="7", ending="/etc") == {}
    assert tab.look()["facts"]["resolution"] == 256


def test_small_copies_are_made_in_the_workspace_only(tab: Tab) -> None:
    tab.look()
    wanted = [picture_id("a.png"), picture_id("bad.png"), "unknown"]
    files = tab("small", ids=wanted)["files"]
    assert files[picture_id("bad.png")] is None
    small = Path(files[picture_id("a.png")])
    assert small.is_relative_to(tab.context.thumbnails)
    assert sorted(path.suffix for path in tab.folder.iterdir() if path.is_file()) == [
        *([".png"] * 3),
        *([".txt"] * 2),
    ]


@pytest.mark.parametrize("name", [NASTY, "ünï 写真.png", "\udce9.png"])
def test_any_name_can_be_shown_and_captioned(tab: Tab, name: str) -> None:
    path = tab.folder / name
    Image.new("RGB", (64, 64)).save(path, "PNG")
    tab.look(again=True)
    assert eventually(lambda: len(tab.look()["rows"]) == 5)
    shown = tab("picture", id=picture_id(name))
    assert tab("save", id=picture_id(name), texts=["cat"], mark=shown["mark"])["written"] == 1
    assert path.with_suffix(".txt").read_text() == "cat\n"


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("", "No folder"),
        ("missing", "not there"),
        ("a.png", "a file"),
        ("empty", "no pictures"),
        ("..", "may look into"),
        ("link", "may look into"),
        ("x\0y", "may look into"),
    ],
)
def test_folders_that_cannot_be_used_are_told(tab: Tab, folder: str, words: str) -> None:
    (tab.folder / "empty").mkdir()
    (tab.folder / "link").symlink_to(tab.folder.parent)
    tab.folder = tab.folder / folder if folder else Path()
    data = {} if folder else {"folder": ""}
    assert words in tab.look(**data)["problem"]


def test_a_folder_that_may_not_be_read_is_told(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    # Not by taking rights away: tests may run as root, whom nothing is refused.
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert "cannot be read: Permission denied" in tab.look()["problem"]


def test_a_decompression_bomb_is_told_and_never_decoded(tab: Tab) -> None:
    bomb(tab.folder / "bomb.png", 50_000)
    row = next(row for row in tab.look()["rows"] if row["name"] == "bomb.png")
    assert "million pixels" in row["problems"][0][1]
    assert tab("small", ids=[row["id"]])["files"] == {row["id"]: None}


def test_a_link_out_of_the_roots_is_named_but_not_opened(tab: Tab) -> None:
    outside = tab.folder.parent / "private.png"
    Image.new("RGB", (64, 64)).save(outside)
    (tab.folder / "linked.png").symlink_to(outside)
    row = next(row for row in tab.look()["rows"] if row["name"] == "linked.png")
    assert row["size"] is None
    assert "may not look into" in row["problems"][0][1]
    assert tab("small", ids=[row["id"]])["files"] == {row["id"]: None}


def test_requests_that_make_no_sense_are_answered_in_words(tab: Tab) -> None:
    tab.look()
    for what, data in (
        ("picture", {"id": "x"}),
        ("save", {"id": 7}),
        ("try_change", {"edit": "x"}),
        ("try_change", {"edit": {"kind": "find", "find": "(", "is_pattern": True}}),
    ):
        assert tab(what, **data)["problem"]
    assert tab("turn", back=True)["title"] is None
