"""Data sets of a metadata file: captions and tags joined, pictures found or told by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sd_scripts.dataset.captions import CaptionRules
from sd_scripts.dataset.metadata import dataset_metadata
from sd_scripts.dataset.metadata_files import MetadataEntry, joined_caption
from tests.dataset.jobs import only, planned, told

ENTRIES: dict[str, dict[str, object]] = {
    "one.png": {"caption": "a cat", "tags": "cat, red", "image_size": [96, 64]},
    "inner/two.png": {"tags": "dog"},
    "three": {"caption": "a bird", "train_resolution": [64, 64]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one.png", "inner/two.png", "three.png", "unnamed.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (96, 64), "red").save(path)
    return tmp_path / "pictures"


def write(folder: Path, entries: object, name: str = "meta.json") -> Path:
    path = folder.parent / name
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("caption", "tags", "wildcard", "expected"),
    [
        ("a cat", "cat, red", False, "a cat;cat, red"),
        ("a cat", "", False, "a cat"),
        ("", "cat", False, "cat"),
        ("a cat\nit sits", "cat", False, "a cat;cat"),
        ("a cat\n\nit sits ", "cat\nred", True, "a cat;cat;red\nit sits;cat;red"),
        ("", "cat", True, "cat"),
        ("", "", True, ""),
    ],
)
def test_tags_follow_the_caption(caption: str, tags: str, wildcard: bool, expected: str) -> None:
    rules = CaptionRules(caption_separator=";", enable_wildcard=wildcard)
    assert joined_caption(MetadataEntry("x.png", caption, tags), rules) == expected


def _plan(cache: Path, folder: Path, file: Path, **options: object):
    options = {"resolution": 64, "train_data_dir": folder, "in_json": file} | options
    return planned(cache, **options)


def test_keys_are_relative_absolute_or_without_ending(folder: Path, cache: Path) -> None:
    absolute = {str(folder / "one.png"): ENTRIES["one.png"]}
    entries = {**ENTRIES, **absolute}
    del entries["one.png"]
    plan = _plan(cache, folder, write(folder, entries), dataset_repeats=3)
    assert plan.problems == ()
    found = {sample.path.relative_to(folder).as_posix(): sample for sample in plan.samples}
    assert {name: sample.caption for name, sample in found.items()} == {
        "one.png": "a cat,cat, red",
        "inner/two.png": "dog",
        "three.png": "a bird",
    }
    assert {sample.num_repeats for sample in plan.samples} == {3}
    assert plan.num_train_images == 9


def test_lines_are_read_as_well_and_start_beside_the_file(folder: Path, cache: Path) -> None:
    file = folder / "meta.jsonl"
    lines = [{"image_path": name, **entry} for name, entry in ENTRIES.items()]
    file.write_text("\n\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    plan = _plan(cache, folder, file, train_data_dir=None)
    assert plan.problems == ()
    assert [sample.caption for sample in plan.samples] == ["a cat,cat, red", "dog", "a bird"]


@pytest.mark.parametrize("bad_images", ["skip", "error"])
def test_missing_files_are_named(folder: Path, cache: Path, bad_images: str) -> None:
    file = write(folder, {**ENTRIES, "gone.png": {"caption": "x"}, "no/where": {"tags": "y"}})
    plan = _plan(cache, folder, file, bad_images=bad_images)
    severity = "error" if bad_images == "error" else "warning"
    problem = only(told(plan, severity))
    assert "gone.png, no/where" in problem.message
    assert str(folder) in (problem.hint or "")
    assert {skipped.path.name for skipped in plan.skipped} == {"gone.png", "where"}
    assert plan.datasets[0].subsets[0].num_images == 3


def test_sizes_that_changed_are_told_and_the_real_ones_used(folder: Path, cache: Path) -> None:
    Image.new("RGB", (64, 96)).save(folder / "one.png")
    plan = _plan(cache, folder, write(folder, ENTRIES))
    assert "one.png" in only(told(plan, "warning", "in_json")).message
    assert plan.samples[0].image_size == (64, 96)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1]", "is a list"),
        ("{", "not valid JSON"),
        ('{"one.png": 3, "two.png": {"caption": 3}}', "one.png: its caption and tags"),
        ('{"one.png": {"image_size": "big"}}', "image_size must be [width, height]"),
        ("{}", "names no pictures"),
        ('{"gone.png": {}}', "gone.png"),
    ],
)
def test_files_that_make_no_sense_are_refused(
    folder: Path, cache: Path, content: str, words: str
) -> None:
    file = folder.parent / "meta.json"
    file.write_text(content, encoding="utf-8")
    errors = told(_plan(cache, folder, file), "error", "in_json")
    assert any(words in problem.message for problem in errors), errors


def test_pictures_without_words_are_told(folder: Path, cache: Path) -> None:
    plan = _plan(cache, folder, write(folder, {"one.png": {}, "three.png": {"tags": "a"}}))
    assert "one.png" in only(told(plan, "warning")).message
    assert plan.samples[0].caption == ""


def test_the_index_keeps_what_it_knows_of_other_pictures_there(folder: Path, cache: Path) -> None:
    planned(cache, train_data_dir=folder, resolution=64)
    index = cache / "pictures.sqlite3"
    import sqlite3

    def count() -> int:
        with sqlite3.connect(index) as db:
            return int(db.execute("SELECT COUNT(*) FROM pictures").fetchone()[0])

    before = count()
    _plan(cache, folder, write(folder, {"one.png": {"tags": "a"}}))
    assert count() == before


def test_a_dataset_file_may_name_metadata_and_tells_so_in_the_trained_file(
    folder: Path, cache: Path
) -> None:
    write(folder, ENTRIES)
    config = folder.parent / "set.toml"
    config.write_text(
        "[general]\nresolution = 64\n[[datasets]]\n"
        "[[datasets.subsets]]\nmetadata_file = 'meta.json'\nimage_dir = 'pictures'\n"
        "[[datasets.subsets]]\nmetadata_file = 'meta.json'\n",
        encoding="utf-8",
    )
    plan = planned(cache, dataset_config=config)
    assert "is there already" in only(list(plan.problems)).message
    assert len(plan.samples) == 3
    facts = dataset_metadata(plan, from_file=True)
    (dataset,) = json.loads(facts["ss_datasets"])
    assert dataset["is_dreambooth"] is False
    assert dataset["subsets"][0]["metadata_file"] == "meta.json"
    assert "image_dir" not in dataset["subsets"][0]
    assert json.loads(facts["ss_dataset_dirs"]) == {"meta.json": {"n_repeats": 1, "img_count": 3}}
