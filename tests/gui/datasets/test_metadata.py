"""Captions in a metadata file, in the tab: found, shown, changed, undone, left to others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from kohya_gui.context import Context
from kohya_gui.settings import Settings, save_settings
from tests.gui.datasets.test_pictures_tab import Tab

ENTRIES: dict[str, dict[str, object]] = {
    "a.png": {"caption": "a cat", "tags": "cat, red", "image_size": [8, 8]},
    "2_inner/c": {"tags": "dog"},
    "gone.png": {"caption": "nobody"},
}
CAPTIONS, TAGS = "meta.json:caption", "meta.json:tags"


@pytest.fixture
def tab(context: Context, tmp_path: Path) -> Tab:
    folder = tmp_path / "set"
    (folder / "2_inner").mkdir(parents=True)
    for name in ("a", "b", "2_inner/c"):
        Image.new("RGB", (64, 64), "red").save(folder / f"{name}.png")
    (folder / "meta.json").write_text(json.dumps(ENTRIES, indent=1))
    (folder / "other.json").write_text('{"kind": "settings"}')
    (folder / "a.json").write_text(json.dumps({"a.png": {"caption": "of a downloader"}}))
    (tmp_path / "above.json").write_text(json.dumps(ENTRIES))
    save_settings(context.workspace, Settings(roots=(str(folder),)))
    return Tab(context, folder)


def rows(tab: Tab) -> dict[str, tuple[str, list[str]]]:
    found = tab.look()["rows"]
    return {row["name"]: (row["caption"], [code for code, _ in row["problems"]]) for row in found}


def test_a_metadata_file_is_found_and_shown(tab: Tab) -> None:
    facts = tab.look()["facts"]
    assert [(one["ending"], one["count"]) for one in facts["endings"]] == [
        (".txt", 0),
        (".caption", 0),
        (CAPTIONS, 1),
        (TAGS, 2),
    ]
    assert facts["endings"][2]["text"] == "meta.json (its captions)"
    assert facts["ending"] == TAGS
    assert rows(tab) == {
        "a.png": ("cat, red", []),
        "b.png": ("", ["bad_caption"]),
        "2_inner/c.png": ("dog", []),
    }
    b = next(row for row in tab.look()["rows"] if row["name"] == "b.png")
    assert "does not name this picture" in tab("picture", id=b["id"])["closed"]
    tab("settings", ending=CAPTIONS)
    assert rows(tab)["a.png"] == ("a cat", [])
    assert rows(tab)["2_inner/c.png"] == ("", ["no_caption"])


def test_texts_are_changed_and_every_byte_comes_back(tab: Tab) -> None:
    tab.look()
    before = tab.text("meta.json")
    told = tab.write(kind="add", tags="new")
    assert (told["written"], told["failed"]) == (2, [])
    first = before.replace('"cat, red"', '"cat, red, new"').replace('"dog"', '"dog, new"')
    assert tab.text("meta.json") == first
    tab("settings", ending=CAPTIONS)
    picture = next(row for row in tab.look()["rows"] if row["name"] == "2_inner/c.png")
    mark = tab("picture", id=picture["id"])["mark"]
    assert tab("save", id=picture["id"], texts=["a dog"], mark=mark)["written"] == 1
    second = json.loads(tab.text("meta.json"))
    assert second == {**json.loads(first), "2_inner/c": {"caption": "a dog", "tags": "dog, new"}}
    assert tab("turn", back=True)["restored"] == 1
    assert tab.text("meta.json") == first
    assert tab("turn", back=True)["restored"] == 1
    assert tab.text("meta.json") == before
    assert tab("turn", back=False)["restored"] == 1
    assert tab.text("meta.json") == first


def test_what_others_change_in_the_file_is_kept(tab: Tab) -> None:
    rows_now = {row["name"]: row["id"] for row in tab.look()["rows"]}
    marks = {name: tab("picture", id=one)["mark"] for name, one in rows_now.items()}
    theirs = {**ENTRIES, "a.png": {"tags": "theirs"}}
    (tab.folder / "meta.json").write_text(json.dumps(theirs))
    told = tab("save", id=rows_now["a.png"], texts=["mine"], mark=marks["a.png"])
    assert (told["written"], told["theirs"]) == (0, ["theirs"])
    told = tab("save", id=rows_now["2_inner/c.png"], texts=["cow"], mark=marks["2_inner/c.png"])
    assert told["written"] == 1
    after = json.loads(tab.text("meta.json"))
    assert after == {**theirs, "2_inner/c": {"tags": "cow"}}


def test_a_file_that_broke_or_may_not_be_followed_is_told(tab: Tab, tmp_path: Path) -> None:
    tab.look()
    (tab.folder / "meta.json").write_text("{")
    assert rows(tab)["a.png"] == ("", ["bad_caption"])
    told = tab.write(kind="add", tags="new")
    assert told["written"] == 0
    (tab.folder / "meta.json").unlink()
    (tab.folder / "meta.json").symlink_to(tmp_path / "above.json")
    endings = tab.look(again=True)["facts"]["endings"]
    assert [one["ending"] for one in endings] == [".txt", ".caption"]
