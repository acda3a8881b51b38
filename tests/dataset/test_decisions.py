"""Decisions about pictures: a file of its own, taken back byte for byte, honoured by the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sd_scripts.dataset.decision_files import (
    change_decisions,
    decisions_text,
    read_decisions,
    write_decisions,
)
from sd_scripts.dataset.decisions import Change, CropWindow, Decisions, PictureDecision
from sd_scripts.dataset.summary import summarise
from sd_scripts.errors import UserError
from tests.dataset.jobs import only, planned, told
from tests.dataset.zoo import encoded, put

OUT = PictureDecision(exclude=True, why="blurred")
PART = PictureDecision(crop=CropWindow(0, 10, 100, 60))
NAMES = st.sampled_from(["a.png", "10_cat/b.png", "10_cat/ä\n.png", "c\udcff.png"])
DECIDED = st.none() | st.sampled_from([OUT, PART, PictureDecision()])
CHANGES = st.builds(
    Change,
    st.text(max_size=5),
    st.dictionaries(NAMES, DECIDED, max_size=3),
    st.dictionaries(st.sampled_from([".", "10_cat"]), st.none() | st.integers(1, 50), max_size=2),
)


@given(st.lists(CHANGES, max_size=6))
def test_every_change_can_be_taken_back_and_made_again(changes: list[Change]) -> None:
    states = [Decisions(Path("/pictures"))]
    for change in changes:
        after = states[-1].changed(change)
        if after is not states[-1]:
            states.append(after)
    texts = [decisions_text(state).split('"done"')[0] for state in states]
    now = states[-1]
    for text in reversed(texts[:-1]):
        now = now.undo()
        assert decisions_text(now).split('"done"')[0] == text
    assert now.undo() is now
    for _ in states[1:]:
        now = now.redo()
    assert decisions_text(now) == decisions_text(states[-1])


@given(CHANGES, CHANGES)
def test_a_file_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, first: Change, second: Change
) -> None:
    path = tmp_path_factory.mktemp("decisions") / "made" / "cats.json"
    folder = path.parent.parent
    decisions = Decisions(folder).changed(first).changed(second).undo()
    write_decisions(path, decisions)
    assert read_decisions(path) == decisions


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([], ["holds no decisions"]),
        ({"folder": "/x"}, ["holds no decisions"]),
        ({"version": 2, "folder": "/x"}, ["version 2"]),
        ({"version": 1}, ["does not say its folder"]),
        ({"version": 1, "folder": "/x", "picture": {}}, ["picture is not known"]),
        (
            {"version": 1, "folder": "/x", "pictures": {
                "../a.png": {"exclude": True}, "/b.png": {}, "c.png": {"crop": [3, 0, 2, 4]},
                "d.png": {"excluded": True}, "e.png": 1, "f.png": {"exclude": "yes"}}},
            ["../a.png", "/b.png", "c.png", "excluded of d.png", "e.png", "exclude of f.png"],
        ),
        ({"version": 1, "folder": "/x", "repeats": {".": 0, "a": True}}, ["of . ", "of a "]),
    ],
)  # fmt: skip
def test_everything_wrong_in_a_file_is_told_at_once(
    tmp_path: Path, tree: object, words: list[str]
) -> None:
    path = tmp_path / "decisions.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(UserError) as caught:
        read_decisions(path)
    told_words = [problem.message for problem in caught.value.problems]
    assert len(told_words) == len(words)
    assert all(word in message for word, message in zip(words, told_words, strict=True))
    assert {problem.option for problem in caught.value.problems} == {"picture_decisions"}


def test_a_change_begins_the_file_and_minds_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "workspace" / "cats.json"
    folder = tmp_path / "cats"
    folder.mkdir()
    change_decisions(file, folder, lambda now: now.changed(Change("x", {"a.png": OUT})))
    link = tmp_path / "link"
    link.symlink_to(folder)
    found = change_decisions(file, link, lambda now: now.changed(Change("y", {"b.png": PART})))
    assert found == read_decisions(file)
    assert found.of(link / "a.png") == found.of(folder / "a.png") == OUT
    assert found.of(tmp_path / "a.png").is_empty
    with pytest.raises(UserError, match="not about these"):
        change_decisions(file, tmp_path, lambda now: now)


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """Two folders; one picture is broken."""
    wide = encoded(Image.new("RGB", (400, 100), "grey"), "PNG")
    put(tmp_path / "train" / "3_cat", "a.png", wide, caption="a cat")
    put(tmp_path / "train" / "3_cat", "b.png", wide, caption="b cat")
    put(tmp_path / "train" / "3_cat", "broken.png", b"no picture")
    put(tmp_path / "train" / "1_dog", "a.png", wide)
    return tmp_path / "train"


def decided(cats: Path, **tables: Any) -> Path:
    path = cats.parent / "decisions.json"
    path.write_text(json.dumps({"version": 1, "folder": "train", **tables}))
    return path


def test_the_plan_follows_the_decisions(cache: Path, cats: Path) -> None:
    file = decided(
        cats,
        pictures={
            "3_cat/a.png": {"crop": [100, 0, 200, 100]},
            "3_cat/b.png": {"exclude": True, "why": "a twin"},
            "3_cat/broken.png": {"exclude": True},
        },
        repeats={"3_cat": 7},
    )
    options: dict[str, Any] = {"train_data_dir": cats, "resolution": 128, "bad_images": "error"}
    plan = planned(cache, picture_decisions=file, **options)
    assert not plan.errors
    dog, cat = plan.samples
    assert (cat.window, cat.image_size, cat.resized) == ((100, 0, 200, 100), (100, 100), (128, 128))
    assert (cat.num_repeats, dog.num_repeats, dog.window) == (7, 1, None)
    assert plan.datasets[0].subsets[1].num_images == 1
    assert plan.datasets[0].subsets[1].settings.num_repeats == 7
    assert {one.path.name: one.reason for one in plan.skipped} == {
        "b.png": "is left out by your decision (a twin)",
        "broken.png": "is left out by your decision",
    }
    assert "2 pictures left out, 1 picture cropped" in summarise(plan).text
    assert planned(cache, **options).errors, "without decisions the broken picture is an error"


def test_a_folder_of_which_nothing_is_left(cache: Path, cats: Path) -> None:
    file = decided(cats, pictures={"1_dog/a.png": {"exclude": True}})
    plan = planned(cache, picture_decisions=file, train_data_dir=cats)
    assert not plan.errors
    assert "all 1 picture in folder 1_dog" in only(told(plan, "warning", "picture_")).message


@pytest.mark.parametrize(
    ("tables", "severity", "words"),
    [
        ({"pictures": {"3_cat/a.png": {"crop": [0, 0, 401, 100]}}}, "error", "do not lie within"),
        ({"pictures": {"3_cat/z.png": {"exclude": True}}}, "warning", "no longer"),
        ({"folder": "elsewhere"}, "error", "not about these"),
        ({"version": 3}, "error", "version 3"),
    ],
)
def test_decisions_that_do_not_fit_are_told(
    cache: Path, cats: Path, tables: dict[str, Any], severity: str, words: str
) -> None:
    plan = planned(cache, picture_decisions=decided(cats, **tables), train_data_dir=cats)
    assert words in only(told(plan, severity, "picture_decisions")).message


def test_pictures_of_a_metadata_file(cache: Path, cats: Path) -> None:
    metadata = cats.parent / "meta.json"
    names = ("3_cat/a.png", "3_cat/b.png", "1_dog/a.png")
    metadata.write_text(json.dumps({name: {"caption": name} for name in names}))
    file = decided(
        cats,
        pictures={"3_cat/b.png": {"exclude": True}, "1_dog/a.png": {"crop": [0, 0, 50, 50]}},
    )
    plan = planned(cache, in_json=metadata, train_data_dir=cats, picture_decisions=file)
    assert not plan.errors
    assert {one.caption: one.image_size for one in plan.samples} == {
        "3_cat/a.png": (400, 100),
        "1_dog/a.png": (50, 50),
    }
