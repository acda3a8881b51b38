"""The folder convention, and clear words for everything that isn't it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sd_scripts.dataset.folders import parse_folder_name, subsets_of_folder
from sd_scripts.dataset.settings import Values
from tests.dataset.zoo import put


def found_in(folder: Path, *, is_reg: bool = False, **values: object):
    return subsets_of_folder(folder, Values(**values), "train_data_dir", is_reg=is_reg)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("10_cat", (10, "cat")),
        ("3_sks cat_sitting", (3, "sks cat_sitting")),
        ("10", (10, "")),
        ("0_off", (0, "off")),
        ("-1_off", (-1, "off")),
        ("cat", None),
        ("cat_10", None),
        ("1.5_cat", None),
        ("_cat", None),
    ],
)
def test_names(name, parts):
    assert parse_folder_name(name) == parts


def test_folders_with_repeats_are_used_in_the_order_of_their_names(tmp_path):
    for name in ("2_dog_b", "10_cat", "0_off"):
        put(tmp_path / name, "a.png")
    found = found_in(tmp_path, num_repeats=7, caption_extension=".txt", shuffle_caption=True)
    assert [
        (subset.image_dir.name, subset.num_repeats, subset.class_tokens) for subset in found.subsets
    ] == [("10_cat", 10, "cat"), ("2_dog_b", 2, "dog_b")]
    assert all(subset.rules.shuffle_caption for subset in found.subsets)
    assert not any(subset.is_reg for subset in found.subsets)


def test_a_plain_folder_takes_its_repeats_from_the_option(tmp_path):
    put(tmp_path / "photos", "a.png")
    found = found_in(tmp_path / "photos", num_repeats=7)
    (subset,) = found.subsets
    assert (subset.image_dir, subset.num_repeats) == (tmp_path / "photos", 7)
    assert subset.class_tokens is None
    assert found.problems == ()
    assert "1 picture itself" in found.notes[0]
    assert "7 repeats" in found.notes[0]


def test_a_plain_folder_of_regularisation_pictures_shows_each_once(tmp_path):
    put(tmp_path / "photos", "a.png")
    (subset,) = found_in(tmp_path / "photos", is_reg=True, num_repeats=7).subsets
    assert (subset.num_repeats, subset.is_reg) == (1, True)


def test_the_folder_itself_may_be_named_by_the_convention(tmp_path):
    put(tmp_path / "12_my cat", "a.png")
    found = found_in(tmp_path / "12_my cat", num_repeats=7)
    (subset,) = found.subsets
    assert (subset.num_repeats, subset.class_tokens) == (12, "my cat")
    assert "12 repeats" in found.notes[0]


@pytest.mark.parametrize("name", ["2024", "2024_holidays", "0_x", "photos_10"])
def test_other_names_of_a_plain_folder_mean_nothing(tmp_path, name):
    put(tmp_path / name, "a.png")
    (subset,) = found_in(tmp_path / name, num_repeats=7).subsets
    assert subset.num_repeats == 7


def test_pictures_beside_folders_and_other_folders_are_told(tmp_path):
    put(tmp_path / "10_cat", "a.png")
    put(tmp_path / "dogs", "a.png")
    put(tmp_path / "notes", "a.md", b"text")
    put(tmp_path, "loose.png")
    found = found_in(tmp_path)
    assert [subset.image_dir.name for subset in found.subsets] == ["10_cat"]
    messages = [problem.message for problem in found.problems]
    assert all(problem.severity == "warning" for problem in found.problems)
    assert any("dogs" in message and "notes" not in message for message in messages)
    assert any("pictures directly in" in message and "10_cat" in message for message in messages)


def test_folders_inside_a_plain_folder_are_told(tmp_path):
    put(tmp_path, "a.png")
    put(tmp_path / "more", "b.png")
    (problem,) = found_in(tmp_path).problems
    assert problem.severity == "warning"
    assert "more" in problem.message


def test_a_year_as_repeats_is_told(tmp_path):
    put(tmp_path / "2023_summer", "a.png")
    (problem,) = found_in(tmp_path).problems
    assert "2023 repeats" in problem.message


def test_hidden_and_system_folders_are_not_there(tmp_path):
    put(tmp_path, "a.png")
    for name in (".git", "__MACOSX", "@eaDir"):
        put(tmp_path / name, "x.png")
    found = found_in(tmp_path)
    assert found.problems == ()
    assert len(found.subsets) == 1


class TestNothingToUse:
    def problem(self, folder: Path):
        found = found_in(folder)
        assert found.subsets == ()
        (problem,) = found.problems
        assert (problem.severity, problem.option) == ("error", "train_data_dir")
        assert problem.hint
        return problem

    def test_a_folder_that_is_not_there_names_the_last_part_that_is(self, tmp_path):
        problem = self.problem(tmp_path / "no" / "such")
        assert "does not exist" in problem.message
        assert problem.hint.endswith(str(tmp_path))

    def test_a_file(self, tmp_path):
        assert "is a file" in self.problem(put(tmp_path, "a.png")).message

    def test_an_empty_folder(self, tmp_path):
        problem = self.problem(tmp_path)
        assert "is empty" in problem.message
        assert "10_mycat" in problem.hint

    def test_a_folder_of_other_things(self, tmp_path):
        put(tmp_path, "read me.md", b"x")
        (tmp_path / "sub").mkdir()
        assert "1 folder and 1 other file" in self.problem(tmp_path).message

    def test_folders_without_repeats_in_their_names(self, tmp_path):
        put(tmp_path / "cat", "a.png")
        put(tmp_path / "dog", "a.png")
        problem = self.problem(tmp_path)
        assert "cat (1 picture), dog (1 picture)" in problem.message
        assert "10_cat" in problem.hint

    def test_one_level_too_high(self, tmp_path):
        put(tmp_path / "img" / "10_cat", "a.png")
        (tmp_path / "log").mkdir()
        assert f"choose {tmp_path}/img" in self.problem(tmp_path).hint

    def test_folders_with_zero_repeats(self, tmp_path):
        put(tmp_path / "0_cat", "a.png")
        assert "0 or fewer repeats" in self.problem(tmp_path).message

    def test_files_of_kinds_that_cannot_be_read(self, tmp_path):
        put(tmp_path, "a.heic", b"x")
        put(tmp_path, "b.GIF", b"x")
        problem = self.problem(tmp_path)
        assert "a.heic, b.GIF" in problem.message
        assert "PNG or JPEG" in problem.hint

    def test_a_folder_without_permission(self, tmp_path, monkeypatch):
        def refuse(path):
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr("os.scandir", refuse)
        problem = self.problem(tmp_path)
        assert "can't be read (Permission denied)" in problem.message
        assert problem.hint == "check its permissions"
