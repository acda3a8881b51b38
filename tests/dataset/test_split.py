"""Pictures held out for validation: none is on both sides, whatever is around it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sd_scripts.dataset.index import hash_file
from sd_scripts.dataset.samples import DatasetPlan, Sample
from sd_scripts.dataset.split import SplitSubset, held_out
from sd_scripts.options.groups.validation import ValidationOptions
from tests.dataset.jobs import only, planned, told

_contents = st.lists(st.sampled_from("abcdefghijklmnop"), max_size=20).map(tuple)
_subsets = st.lists(
    st.builds(
        SplitSubset,
        _contents,
        st.sampled_from([0.0, 0.1, 0.5]),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=4,
)


@given(_subsets)
def test_regularisation_pictures_are_never_held_out(subsets: list[SplitSubset]) -> None:
    chosen = held_out(subsets)
    regular = {content for one in subsets if one.is_reg for content in one.contents}
    own = {content for one in subsets if one.share and not one.is_reg for content in one.contents}
    assert not chosen & regular
    assert chosen <= own


@given(_contents, st.sampled_from([0.1, 0.3, 0.5]), st.randoms())
def test_the_choice_follows_from_content_alone(
    contents: tuple[str, ...], share: float, rng
) -> None:
    different = sorted(set(contents))
    chosen = held_out([SplitSubset(contents, share, 1)])
    assert len(chosen) == int(len(different) * share + 0.5)
    mixed = list(contents) * 2
    rng.shuffle(mixed)
    assert held_out([SplitSubset(tuple(mixed), share, 1)]) == chosen


def test_another_seed_is_another_choice() -> None:
    contents = tuple(str(number) for number in range(40))
    assert len({held_out([SplitSubset(contents, 0.1, seed)]) for seed in range(5)}) == 5


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Ten pictures in 3_a; two of them again in 2_b, under other names; one of them regular."""
    for number in range(10):
        path = tmp_path / "train" / "3_a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (number * 20, 0, 0)).save(path)
    for name, numbers in (("train/2_b", (0, 1)), ("reg/1_a", (2,))):
        (tmp_path / name).mkdir(parents=True)
        for number in numbers:
            shutil.copy(tmp_path / f"train/3_a/{number}.png", tmp_path / name / f"x{number}.png")
    return tmp_path


def _plan(folders: Path, cache: Path, share: float, seed: int, **options: object) -> DatasetPlan:
    options = {
        "train_data_dir": folders / "train",
        "reg_data_dir": folders / "reg",
        "resolution": 64,
        "flip_aug": True,
        "shuffle_caption": True,
        "caption_dropout_rate": 0.5,
    } | options
    validation = ValidationOptions(validation_split=share, validation_seed=seed)
    return planned(cache, validation=validation, **options)


def _hashes(samples: tuple[Sample, ...]) -> set[str]:
    return {hash_file(sample.path) for sample in samples}


@pytest.mark.parametrize("seed", range(6))
def test_equal_pictures_are_on_one_side(folders: Path, cache: Path, seed: int) -> None:
    plan = _plan(folders, cache, 0.3, seed)
    assert not plan.errors
    held, trained = _hashes(plan.validation), _hashes(plan.samples)
    assert not held & trained
    assert len(held) == len(plan.validation)
    assert len(held | trained) == 10
    assert 3 <= len(held) <= 4  # three of 3_a, and one more if 2_b has none of them
    assert hash_file(folders / "reg/1_a/x2.png") not in held
    assert [one.id for one in plan.all_samples] == list(range(len(plan.all_samples)))
    assert plan.num_reg_images == plan.num_train_images
    assert plan.num_train_images == sum(s.num_repeats for s in plan.samples if not s.is_reg)
    assert any("held out" in note for note in plan.notes)
    assert sum(one.num_held_out for one in plan.datasets[0].subsets) == len(held)


def test_what_is_measured_never_varies(folders: Path, cache: Path) -> None:
    plan = _plan(folders, cache, 0.3, 1)
    for sample in plan.validation:
        assert sample.num_repeats == 1
        assert not sample.flip
        assert sample.has_fixed_pixels
        assert sample.rules.is_static
    own = plan.for_validation()
    assert [sample.id for sample in own.samples] == list(range(len(plan.validation)))
    assert own.num_batches_per_epoch == len(plan.validation)


def test_the_split_is_the_same_again_and_off_by_default(folders: Path, cache: Path) -> None:
    first, second = _plan(folders, cache, 0.3, 1), _plan(folders, cache, 0.3, 1)
    assert first == second
    before = _hashes(first.validation)
    (folders / "train" / "3_a").rename(folders / "train" / "5_other")
    renamed = _plan(folders, cache, 0.3, 1)
    assert _hashes(renamed.validation) == before
    plain = _plan(folders, cache, 0.0, 1)
    assert plain.validation == ()
    assert plain.notes == ()


def test_a_share_of_nothing_is_told(folders: Path, cache: Path) -> None:
    plan = _plan(folders, cache, 0.01, 1)
    assert "too small" in only(told(plan, "error", "validation_split")).message


def test_a_dataset_file_may_ask_for_it_at_one_resolution_only(folders: Path, cache: Path) -> None:
    config = folders / "set.toml"
    folder = folders / "train" / "3_a"
    config.write_text(
        f"[[datasets]]\nresolution = 64\nvalidation_split = 0.2\nvalidation_seed = 4\n"
        f"[[datasets.subsets]]\nimage_dir = '{folder}'\n"
        f"[[datasets]]\nresolution = 128\n[[datasets.subsets]]\nimage_dir = '{folder}'\n",
        encoding="utf-8",
    )
    plan = planned(cache, dataset_config=config)
    assert not plan.errors
    assert [sample.dataset for sample in plan.validation] == [0, 0]
    assert [one.dataset for one in plan.samples] == [0] * 8 + [1] * 8
    assert not _hashes(plan.validation) & _hashes(plan.samples)
