"""Caption files of sd-scripts (SDXL), both ways: theirs are read where they fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sd_scripts.data.identity import EncoderIdentity
from sd_scripts.data.kohya_files import text_file
from sd_scripts.data.kohya_text import KohyaTexts, files_to_write, write_texts
from sd_scripts.data.text_cache import TextCache, captions_to_cache
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.options.groups.caption import CaptionOptions
from tests.data.helpers import make_folder, make_plan

FIRST, SECOND, POOLED = 6, 10, 5


@pytest.fixture
def plan(tmp_path: Path) -> DatasetPlan:
    return make_plan(make_folder(tmp_path / "p", [(128, 128)] * 3), tmp_path / "cache")


def outputs(caption: str, model: int = 0) -> dict[str, Tensor]:
    """What the encoders give: the first token is large and the same for every caption."""
    generator = torch.Generator().manual_seed(sum(caption.encode()) + 1000 * model)
    hidden = torch.randn(77, FIRST + SECOND, generator=generator)
    hidden[0] = 500.0
    return {"hidden": hidden, "pooled": torch.randn(POOLED, generator=generator)}


def write_theirs(file: Path, caption: str, dtype: str = "float16", **more: Any) -> None:
    """A file by hand, as the reference describes it."""
    text = {name: tensor.numpy().astype(dtype) for name, tensor in outputs(caption).items()}
    arrays = {
        "hidden_state1": text["hidden"][:, :FIRST],
        "hidden_state2": text["hidden"][:, FIRST:],
        "pool2": text["pooled"],
    }
    np.savez(file, **{name: array for name, array in (arrays | more).items() if array is not None})


def write_all(plan: DatasetPlan, **more: Any) -> None:
    for sample in plan.samples:
        write_theirs(text_file(sample.path), sample.caption, **more)


def looked(plan: DatasetPlan, encode: Callable[[str], dict[str, Tensor]] = outputs) -> KohyaTexts:
    found = KohyaTexts((77, FIRST + SECOND), POOLED, torch.float32)
    found.look(plan)
    found.check(encode)
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_files_take_the_place_of_encoding(
    plan: DatasetPlan, tmp_path: Path, dtype: str, in_memory: bool
) -> None:
    write_all(plan, dtype=dtype)
    cache = TextCache(
        tmp_path / "cache",
        EncoderIdentity("te", "float32"),
        max_token_length=None,
        clip_skip=None,
        in_memory=in_memory,
    )
    cache.kohya = looked(plan)
    assert cache.kohya.text == "3 captions from files of sd-scripts"
    assert cache.missing(captions_to_cache(plan)) == [""]
    captions = [sample.caption for sample in plan.samples]
    for _ in range(2):
        got = cache.get(captions)
        assert got.pooled is not None
        for row, caption in enumerate(captions):
            assert torch.allclose(got.hidden[row], outputs(caption)["hidden"], atol=1e-2)
            assert torch.allclose(got.pooled[row], outputs(caption)["pooled"], atol=1e-2)
    assert not (tmp_path / "cache" / "text").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"hidden_state2": None}, "without the text of both encoders"),
        ({"hidden_state1": np.zeros((76, FIRST))}, "without the text of both encoders"),
        (
            {"hidden_state1": np.zeros((9, FIRST)), "hidden_state2": np.zeros((9, SECOND))},
            "of another length or width",
        ),
        ({"pool2": np.zeros(POOLED + 1)}, "of another length or width"),
        ({"pool2": np.full(POOLED, np.nan)}, "not all numbers"),
        ({"pool2": np.array(["x"], dtype=object)}, "can't be read"),
    ],
)
def test_files_that_do_not_fit_are_told(
    plan: DatasetPlan, more: dict[str, np.ndarray], words: str
) -> None:
    sample = plan.samples[0]
    write_theirs(text_file(sample.path), sample.caption, **more)
    found = looked(plan)
    assert not found.found
    assert f"1 not used: {words}" in found.text


def test_a_caption_that_was_edited_later_is_encoded_anew(plan: DatasetPlan) -> None:
    write_all(plan)
    os.utime(text_file(plan.samples[0].path), (1, 1))
    found = looked(plan)
    assert "1 not used: older than the caption" in found.text
    assert len(found.found) == 2


@pytest.mark.parametrize("spelled", ["other encoders", "other captions"])
def test_what_the_encoders_do_not_give_is_not_used(plan: DatasetPlan, spelled: str) -> None:
    """The first token, which is alike for all captions, must not hide the difference."""
    write_all(plan)
    changed = {
        "other encoders": lambda caption: outputs(caption, model=1),
        "other captions": lambda caption: outputs(f"not {caption}"),
    }
    found = looked(plan, changed[spelled])
    assert not found.found
    assert "3 not used: made by other text encoders" in found.text


def with_rules(plan: DatasetPlan, tmp_path: Path, **rules: str) -> DatasetPlan:
    captions = CaptionOptions.model_validate({"caption_extension": ".txt", **rules})
    return make_plan(plan.samples[0].path.parent, tmp_path / "cache", captions=captions)


def test_captions_that_are_changed_before_they_are_learned_are_not_taken(
    plan: DatasetPlan, tmp_path: Path
) -> None:
    """sd-scripts' files hold the caption file's text; a prefix is not in them."""
    write_all(plan)
    changed = with_rules(plan, tmp_path, caption_prefix="photo of")
    found = looked(changed)
    assert not found.found
    assert "3 not used: of captions that are changed" in found.text
    assert files_to_write(changed, found.files) == ({}, 3)


def test_pictures_of_one_name_share_a_file_only_with_one_caption(
    plan: DatasetPlan, tmp_path: Path
) -> None:
    folder = plan.samples[0].path.parent
    plan.samples[1].path.rename(folder / "000.jpg")
    both = with_rules(plan, tmp_path)
    write_theirs(text_file(folder / "000.png"), both.samples[0].caption)
    assert len({sample.caption for sample in both.samples}) == 2
    assert len(looked(both).found) == 1


def test_what_is_written_has_their_format_and_is_read_again(plan: DatasetPlan) -> None:
    first, *others = (text_file(sample.path) for sample in plan.samples)
    write_theirs(first, plan.samples[0].caption)
    before = first.read_bytes()
    wanted, left_out = files_to_write(plan, looked(plan).files)
    assert left_out == 0
    assert list(write_texts(wanted, outputs, FIRST)) == others
    assert first.read_bytes() == before
    with np.load(others[0]) as file:
        assert set(file.files) == {"hidden_state1", "hidden_state2", "pool2"}
        assert file["hidden_state1"].shape == (77, FIRST)
        assert file["hidden_state2"].shape == (77, SECOND)
        assert file["pool2"].shape == (POOLED,)
        assert {str(file[name].dtype) for name in file.files} == {"float32"}
        expected = outputs(plan.samples[1].caption)["hidden"][:, FIRST:]
        assert np.array_equal(file["hidden_state2"], expected.numpy())
    assert len(looked(plan).found) == 3
