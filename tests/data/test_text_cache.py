"""The text encoder cache: by text and encoder, whole batches back, nothing stale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from sd_scripts.data.batch import CachedText
from sd_scripts.data.identity import EncoderIdentity
from sd_scripts.data.long_work import Hooks
from sd_scripts.data.text_cache import TextCache, captions_to_cache
from sd_scripts.errors import UserError
from sd_scripts.options.groups.caption import CaptionOptions
from tests.data.helpers import QUIET, make_folder, make_plan

CAPTIONS = ["a cat", "a dog", "", "ein Vögelchen 図"]


class Encoder:
    """Gives each caption values of its own; with or without a pooled vector."""

    def __init__(self, pooled: bool = True, dtype: torch.dtype = torch.float32) -> None:
        self.pooled = pooled
        self.dtype = dtype
        self.asked: list[list[str]] = []

    def __call__(self, captions: Sequence[str]) -> CachedText:
        self.asked.append(list(captions))
        rows = []
        for caption in captions:
            generator = torch.Generator().manual_seed(sum(caption.encode()))
            rows.append(torch.randn(77, 8, generator=generator))
        hidden = torch.stack(rows).to(self.dtype)
        return CachedText(hidden, hidden[:, 0] if self.pooled else None)


def cache(root: Path, **changes: Any) -> TextCache:
    values: dict[str, Any] = {"max_token_length": None, "clip_skip": None, "in_memory": False}
    weights = changes.pop("weights", "te")
    return TextCache(root, EncoderIdentity(weights, "float32"), **(values | changes))


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_outputs_come_back_as_they_were(
    tmp_path: Path, pooled: bool, in_memory: bool, dtype: torch.dtype
) -> None:
    encoder = Encoder(pooled, dtype)
    kept = cache(tmp_path, in_memory=in_memory)
    assert kept.encode(CAPTIONS, encoder, QUIET, batch_size=3)
    assert sorted(map(len, encoder.asked)) == [1, 3]
    wanted = ["a dog", "", "a dog"]
    got, expected = kept.get(wanted), Encoder(pooled, dtype)(wanted)
    assert torch.equal(got.hidden, expected.hidden)
    assert got.hidden.dtype == dtype
    if expected.pooled is None:
        assert got.pooled is None
    else:
        assert got.pooled is not None
        assert torch.equal(got.pooled, expected.pooled)
    assert (tmp_path / "text").exists() != in_memory


def test_only_new_captions_are_encoded(tmp_path: Path) -> None:
    cache(tmp_path).encode(CAPTIONS, Encoder(), QUIET)
    encoder = Encoder()
    cache(tmp_path).encode([*CAPTIONS, "a new one", "a new one"], encoder, QUIET)
    assert encoder.asked == [["a new one"]]


@pytest.mark.parametrize(
    "change",
    [{"weights": "other"}, {"max_token_length": 225}, {"clip_skip": 2}, {"weighted": True}],
    ids=str,
)
def test_another_encoder_or_setting_has_other_entries(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    cache(tmp_path).encode(CAPTIONS, Encoder(), QUIET)
    assert len(cache(tmp_path, **change).missing(CAPTIONS)) == 4
    assert cache(tmp_path).missing(CAPTIONS) == []


def test_stop_keeps_what_is_done(tmp_path: Path) -> None:
    encoder = Encoder()
    hooks = Hooks(should_stop=lambda: len(encoder.asked) == 2)
    assert not cache(tmp_path).encode(CAPTIONS, encoder, hooks)
    assert len(cache(tmp_path).missing(CAPTIONS)) == 2


def test_progress_ends_at_all(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    hooks = Hooks(progress=lambda name, done, total: seen.append((done, total)))
    cache(tmp_path).encode(CAPTIONS, Encoder(), hooks, batch_size=2)
    assert seen == [(0, 4), (2, 4), (4, 4)]


def test_nan_names_the_caption(tmp_path: Path) -> None:
    def broken(captions: Sequence[str]) -> CachedText:
        return CachedText(torch.full((len(captions), 77, 8), float("nan")))

    with pytest.raises(UserError, match="a cat"):
        cache(tmp_path).encode(["a cat"], broken, QUIET)
    assert cache(tmp_path).missing(["a cat"]) == ["a cat"]


def test_captions_are_cached_as_they_are_trained(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "set", [(128, 128)] * 2)
    rules = CaptionOptions.model_validate(
        {"caption_extension": ".txt", "caption_prefix": "photo of", "caption_suffix": "film"}
    )
    plan = make_plan(folder, tmp_path / "cache", captions=rules)
    tail = "red, green, blue, large, small film"
    assert captions_to_cache(plan) == {
        "",
        f"photo of picture 0, {tail}",
        f"photo of picture 1, {tail}",
    }


def test_captions_that_change_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "set", [(128, 128)] * 2)
    rules = CaptionOptions.model_validate({"caption_extension": ".txt", "shuffle_caption": True})
    with pytest.raises(AssertionError):
        captions_to_cache(make_plan(folder, tmp_path / "cache", captions=rules))
