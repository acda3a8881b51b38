"""The batches of a job: the same however they are loaded, resumable anywhere, with true sizes."""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sd_scripts.data import loader
from sd_scripts.data.batch import Batch, CachedText
from sd_scripts.data.identity import EncoderIdentity
from sd_scripts.data.latents import LatentScaling, encode_pixels, sample_moments, to_tensor
from sd_scripts.data.loader import BatchSource, LoaderSettings
from sd_scripts.data.long_work import Hooks
from sd_scripts.data.pixels import load_pixels
from sd_scripts.data.schedule import Sharing
from sd_scripts.data.text_cache import TextCache, captions_to_cache
from sd_scripts.dataset.samples import DatasetPlan
from sd_scripts.errors import UserError
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from tests.data.helpers import FakeVae, filled_cache, make_folder, make_plan

SIZES = [(128, 128), (400, 100), (128, 128), (100, 400), (301, 300), (130, 128), (128, 131)]
SCALING = LatentScaling(0.18215)
SHUFFLED = CaptionOptions.model_validate(
    {
        "caption_extension": ".txt",
        "shuffle_caption": True,
        "keep_tokens": 1,
        "caption_dropout_rate": 0.1,
        "caption_tag_dropout_rate": 0.2,
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "Bilder ä 図", SIZES)


@pytest.fixture
def plan(folder: Path, tmp_path: Path) -> DatasetPlan:
    return make_plan(folder, tmp_path / "cache", captions=SHUFFLED, flip_aug=True)


def settings(**changes: Any) -> LoaderSettings:
    return LoaderSettings(**({"seed": 7, "total_steps": 100} | changes))


def source(plan: DatasetPlan, cache: Any = None, **changes: Any) -> BatchSource:
    return BatchSource(plan, settings(**changes), scaling=SCALING, latents=cache)


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    return a == b


def assert_same(left: list[Batch], right: list[Batch]) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        for field in fields(Batch):
            a, b = getattr(one, field.name), getattr(other, field.name)
            assert same(a, b), f"{field.name}: {a} and {b}"


def test_any_number_of_workers_gives_the_same_batches(
    plan: DatasetPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    alone = [list(source(plan).epoch(epoch)) for epoch in (1, 2)]
    assert all(batch.pixels is not None for batch in alone[0])
    once = source(plan, num_workers=1)
    assert_same(alone[0], list(once.epoch(1)))
    kept = source(plan, num_workers=4, persistent_workers=True)
    for epoch in (1, 2):
        assert_same(alone[epoch - 1], list(kept.epoch(epoch)))
    kept.close()


@pytest.mark.parametrize("in_memory", [False, True])
def test_cached_latents_do_not_depend_on_workers_or_place(
    plan: DatasetPlan, tmp_path: Path, in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pool(*args: object, **options: object) -> None:
        raise AssertionError("cached latents need no worker processes")

    monkeypatch.setattr(loader, "WorkerPool", no_pool)
    memory = filled_cache(plan, tmp_path / "cache", in_memory=True)
    expected = list(source(plan, memory).epoch(1))
    cache = filled_cache(plan, tmp_path / "cache", in_memory=in_memory)
    assert_same(expected, list(source(plan, cache, num_workers=4).epoch(1)))
    assert all(batch.pixels is None for batch in expected)


def test_cached_and_uncached_latents_are_the_same(plan: DatasetPlan, tmp_path: Path) -> None:
    cache = filled_cache(plan, tmp_path / "cache")
    cached = list(source(plan, cache).epoch(3))
    uncached = list(source(plan).epoch(3))
    for one, other in zip(cached, uncached, strict=True):
        latents = encode_pixels(FakeVae(), other, SCALING)  # type: ignore[arg-type]
        assert one.latents is not None
        assert torch.equal(one.latents, latents)
        assert one.captions == other.captions
        assert torch.equal(one.crop_top_lefts, other.crop_top_lefts)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cached", [False, True])
def test_an_epoch_resumed_anywhere_is_its_tail(
    plan: DatasetPlan, tmp_path: Path, workers: int, cached: bool
) -> None:
    cache = filled_cache(plan, tmp_path / "cache") if cached else None
    whole = list(source(plan, cache).epoch(2))
    assert len(whole) == plan.num_batches_per_epoch == 5
    for start in (0, 1, 3, 5):
        tail = list(source(plan, cache, num_workers=workers).epoch(2, start))
        assert_same(whole[start:], tail)


def test_an_epoch_left_halfway_does_not_disturb_the_next_one(plan: DatasetPlan) -> None:
    expected = list(source(plan).epoch(2))
    for workers in (0, 2):
        loading = source(plan, num_workers=workers, persistent_workers=workers > 0)
        begun = loading.epoch(1)
        next(begun)
        begun.close()  # type: ignore[attr-defined]
        assert_same(expected, list(loading.epoch(2)))
        loading.close()


def test_every_epoch_shows_everything_in_another_order_with_other_chance(
    plan: DatasetPlan, tmp_path: Path
) -> None:
    cache = filled_cache(plan, tmp_path / "cache")
    epochs = [list(source(plan, cache).epoch(epoch)) for epoch in range(1, 7)]
    orders = [[i for batch in epoch for i in batch.sample_ids] for epoch in epochs]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    seeds = [seed for epoch in epochs for batch in epoch for seed in batch.noise_seeds]
    assert len(set(seeds)) == 42
    captions = {batch.captions[batch.sample_ids.index(0)]
                for epoch in epochs for batch in epoch if 0 in batch.sample_ids}  # fmt: skip
    assert len(captions) > 2


def test_another_seed_gives_other_batches_and_the_same_one_the_same(plan: DatasetPlan) -> None:
    batches = [list(source(plan, seed=seed).epoch(1)) for seed in (1, 1, 2)]
    assert_same(batches[0], batches[1])
    assert [b.noise_seeds for b in batches[0]] != [b.noise_seeds for b in batches[2]]


def test_repeats_are_shown_with_chance_of_their_own(folder: Path, tmp_path: Path) -> None:
    plan = make_plan(folder, tmp_path / "cache", dataset_repeats=3, flip_aug=True)
    batches = list(source(plan, filled_cache(plan, tmp_path / "cache")).epoch(1))
    shown = Counter(i for batch in batches for i in batch.sample_ids)
    assert shown == dict.fromkeys(range(7), 3)
    seeds = {seed for batch in batches for seed in (*batch.noise_seeds, *batch.latent_seeds)}
    assert len(seeds) == 42


def test_loading_leaves_global_randomness_alone(plan: DatasetPlan) -> None:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index]
    list(source(plan, num_workers=2).epoch(1))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert (before[2] == np.random.get_state()[1]).all()  # type: ignore[index]


def test_sizes_are_height_and_width_of_what_was_really_taken(folder: Path, tmp_path: Path) -> None:
    plan = make_plan(folder, tmp_path / "cache", random_crop=True, flip_aug=True)
    mirrored_seen = set()
    for epoch in range(1, 5):
        for batch in source(plan).epoch(epoch):
            assert batch.pixels is not None
            assert batch.crop_top_lefts.dtype == torch.int64
            for row, number in enumerate(batch.sample_ids):
                sample = plan.samples[number]
                width, height = sample.image_size
                assert batch.original_sizes[row].tolist() == [height, width]
                assert batch.target_sizes[row].tolist() == list(batch.pixels.shape[2:])
                top, left = batch.crop_top_lefts[row].tolist()
                whole = to_tensor(load_pixels(sample)[None])[0]
                bucket_width, bucket_height = sample.bucket
                matches = {
                    mirrored: torch.equal(
                        view[:, top : top + bucket_height, left : left + bucket_width],
                        batch.pixels[row],
                    )
                    for mirrored, view in ((False, whole), (True, whole.flip(-1)))
                }
                assert sum(matches.values()) == 1
                mirrored_seen.add(matches[True])
    assert mirrored_seen == {False, True}


def test_random_crops_differ_between_epochs(folder: Path, tmp_path: Path) -> None:
    plan = make_plan(folder, tmp_path / "cache", random_crop=True, enable_bucket=False)
    crops = {
        tuple(batch.crop_top_lefts[batch.sample_ids.index(1)].tolist())
        for epoch in range(1, 9)
        for batch in source(plan).epoch(epoch)
        if 1 in batch.sample_ids
    }
    assert len(crops) > 3


def test_about_half_of_the_showings_are_mirrored_and_only_where_allowed(
    folder: Path, tmp_path: Path
) -> None:
    for flip in (True, False):
        plan = make_plan(folder, tmp_path / "cache", dataset_repeats=40, flip_aug=flip)
        cache = filled_cache(plan, tmp_path / "cache")
        sample = plan.samples[0]
        plain, mirrored = cache.moments(sample, False)[:4], None
        mirrored = cache.moments(sample, True)[:4] if flip else plain.flip(-1)
        close = [
            (batch.latents[row] / SCALING.scale - plain).abs().mean()
            < (batch.latents[row] / SCALING.scale - mirrored).abs().mean()
            for batch in source(plan, cache).epoch(1)
            for row, number in enumerate(batch.sample_ids)
            if number == 0 and batch.latents is not None
        ]
        assert len(close) == 40
        if flip:
            assert 8 < sum(close) < 32
        else:
            assert sum(close) == 40


def test_latents_are_sampled_anew_each_time_from_the_moments() -> None:
    mean, log_variance = torch.randn(2, 4, 8, 8), torch.full((2, 4, 8, 8), -2.0)
    moments = torch.cat([mean, log_variance], dim=1)
    scaling = LatentScaling(0.5, shift=0.25)
    draws = torch.stack(
        [sample_moments(moments, [seed, seed + 1], scaling) for seed in range(0, 800, 2)]
    )
    torch.testing.assert_close(draws.mean(0), (mean - 0.25) * 0.5, atol=0.08, rtol=0)
    deviation = draws.std(0).mean().item()
    assert deviation == pytest.approx(0.5 * np.exp(-1.0), rel=0.02)
    alone = sample_moments(moments[1:], [5], scaling)
    together = sample_moments(moments, [4, 5], scaling)
    assert torch.equal(alone[0], together[1])
    frozen = torch.cat([mean, torch.full_like(mean, -1e6)], dim=1)
    torch.testing.assert_close(
        sample_moments(frozen, [1, 2], LatentScaling(1.0)), mean, atol=1e-5, rtol=0
    )


def test_regularisation_pictures_have_their_weight(folder: Path, tmp_path: Path) -> None:
    make_folder(tmp_path / "reg" / "1_person", [(128, 128)] * 3, captions=False)
    train = tmp_path / "train"
    train.mkdir()
    folder.rename(train / "1_cat")
    plan = make_plan(train, tmp_path / "cache", reg=tmp_path / "reg")
    assert plan.num_reg_images == 7
    cache = filled_cache(plan, tmp_path / "cache")
    weights = {
        (plan.samples[number].is_reg, round(weight, 6))
        for batch in source(plan, cache, prior_loss_weight=0.25).epoch(1)
        for number, weight in zip(batch.sample_ids, batch.loss_weights.tolist(), strict=True)
    }
    assert weights == {(True, 0.25), (False, 1.0)}


def test_tag_warm_up_follows_the_step_a_batch_belongs_to(folder: Path, tmp_path: Path) -> None:
    rules = CaptionOptions.model_validate(
        {"caption_extension": ".txt", "token_warmup_min": 1, "token_warmup_step": 10}
    )
    plan = make_plan(folder, tmp_path / "cache", captions=rules)
    cache = filled_cache(plan, tmp_path / "cache")
    loading = source(plan, cache, accumulation=2)
    step = 0
    for epoch in range(1, 5):  # 5 batches an epoch, two a step: 3 steps, the last of one batch
        for number, batch in enumerate(loading.epoch(epoch)):
            at = step + number // 2
            expected = 6 if at >= 10 else at * 5 // 10 + 1
            assert {len(caption.split(",")) for caption in batch.captions} == {expected}
        step += 3
    last = next(iter(loading.epoch(4, 4)))
    assert {len(caption.split(",")) for caption in last.captions} == {6}


@pytest.mark.parametrize("num_processes", [2, 3, 4])
def test_processes_share_an_epoch_as_if_their_batches_were_one(
    plan: DatasetPlan, tmp_path: Path, num_processes: int
) -> None:
    cache = filled_cache(plan, tmp_path / "cache")
    alone = list(source(plan, cache).epoch(1))
    shared = [
        source(plan, cache, sharing=Sharing(index, num_processes)) for index in range(num_processes)
    ]
    parts = [list(one.epoch(1)) for one in shared]
    assert {len(part) for part in parts} == {one.batches_per_epoch for one in shared}
    for number, together in enumerate(zip(*parts, strict=True)):
        group = alone[number * num_processes : (number + 1) * num_processes]
        expected = torch.cat([batch.loss_weights for batch in group])
        ids = [i for batch in group for i in batch.sample_ids]
        real = [batch for batch in together if batch.loss_weights.sum() > 0]
        assert [i for batch in real for i in batch.sample_ids] == ids
        # The mean of all processes' batch means is the mean over all their samples.
        losses = {i: float(i + 1) for i in ids}
        means = [
            (batch.loss_weights * torch.tensor([losses[i] for i in batch.sample_ids])).mean()
            for batch in together
        ]
        plain = (expected * torch.tensor([losses[i] for i in ids])).mean()
        torch.testing.assert_close(torch.stack(means).mean(), plain)


def test_a_picture_that_breaks_later_is_named(plan: DatasetPlan) -> None:
    plan.samples[4].path.write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    for workers in (0, 2):
        with pytest.raises(UserError, match=r"004\.png") as caught:
            list(source(plan, num_workers=workers).epoch(1))
        assert caught.value.problems[0].hint


def test_folders_with_and_without_random_crop_in_one_dataset(tmp_path: Path) -> None:
    fixed = make_folder(tmp_path / "fixed", [(128, 128)] * 4)
    moving = make_folder(tmp_path / "moving", [(200, 128)] * 4)
    config = tmp_path / "dataset.toml"
    config.write_text(
        f"""
        [general]
        resolution = 128
        batch_size = 2
        caption_extension = ".txt"
        [[datasets]]
        [[datasets.subsets]]
        image_dir = '{fixed}'
        [[datasets.subsets]]
        image_dir = '{moving}'
        random_crop = true
        """
    )
    plan = make_plan(fixed, tmp_path / "cache", train_data_dir=None, dataset_config=str(config))
    vae = FakeVae()
    cache = filled_cache(plan, tmp_path / "cache", vae)
    assert vae.num_encoded == 1 * 4
    loading = source(plan, cache)
    assert loading.needs_pixels
    kinds = set()
    for epoch in range(1, 6):
        for batch in loading.epoch(epoch):
            needs = any(plan.samples[number].random_crop for number in batch.sample_ids)
            assert (batch.pixels is not None) == needs
            assert (batch.latents is None) == needs
            kinds.add(needs)
    assert kinds == {True, False}


def test_cached_text_comes_with_the_batch(folder: Path, tmp_path: Path) -> None:
    plan = make_plan(folder, tmp_path / "cache")
    text = TextCache(
        tmp_path / "cache", EncoderIdentity("te", "float32"), max_token_length=None,
        clip_skip=None, in_memory=True,
    )  # fmt: skip

    def encode(captions: Any) -> CachedText:
        values = [[float(len(caption)), float(ord(caption[-1:] or "0"))] for caption in captions]
        return CachedText(torch.tensor(values)[:, None, :].expand(-1, 5, -1), torch.tensor(values))

    assert text.encode(captions_to_cache(plan), encode, Hooks())
    cache = filled_cache(plan, tmp_path / "cache")
    loading = BatchSource(plan, settings(), scaling=SCALING, latents=cache, text=text)
    for batch in loading.epoch(1):
        assert batch.text is not None
        expected = encode(batch.captions)
        assert torch.equal(batch.text.hidden, expected.hidden)
        assert batch.text.pooled is not None
        assert torch.equal(batch.text.pooled, expected.pooled)


def test_settings_are_taken_from_the_options() -> None:
    data = DataOptions.model_validate(
        {
            "prior_loss_weight": 0.5,
            "max_data_loader_n_workers": 3,
            "persistent_data_loader_workers": True,
        }
    )
    got = LoaderSettings.of(data, seed=3, total_steps=9, accumulation=4)
    assert got == LoaderSettings(
        seed=3,
        total_steps=9,
        accumulation=4,
        prior_loss_weight=0.5,
        num_workers=3,
        persistent_workers=True,
    )


def test_a_batch_moves_whole(plan: DatasetPlan) -> None:
    batch = next(source(plan).epoch(1)).to("meta")
    tensors = [getattr(batch, field.name) for field in fields(Batch)]
    devices = {value.device.type for value in tensors if isinstance(value, Tensor)}
    assert devices == {"meta"}


def test_encoding_pixels_names_pictures_that_give_nan(plan: DatasetPlan) -> None:
    batch = next(source(plan).epoch(1))
    vae = FakeVae(gain=float("inf"), dtype=torch.float16)
    with pytest.raises(UserError, match=r"\.png"):
        encode_pixels(vae, batch, SCALING)  # type: ignore[arg-type]
    assert [Path(name) for name in batch.names] == [plan.samples[i].path for i in batch.sample_ids]
