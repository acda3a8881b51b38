"""Latent files of sd-scripts, both ways: theirs are read where they fit, ours have their format."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from sd_scripts.data.kohya_files import latent_file, write_arrays
from sd_scripts.data.kohya_latents import KohyaLatents, write_latents
from sd_scripts.data.latents import encode_moments, to_tensor
from sd_scripts.data.pixels import choose_crop, cut, letter_box, load_pixels
from sd_scripts.dataset.samples import DatasetPlan, Sample
from sd_scripts.errors import UserError
from tests.data.helpers import (
    ENCODE,
    QUIET,
    FakeVae,
    filled_cache,
    make_cache,
    make_folder,
    make_plan,
    picture,
)


@pytest.fixture
def plan(tmp_path: Path) -> DatasetPlan:
    folder = make_folder(tmp_path / "p", [(300, 200), (200, 300), (128, 128)])
    return make_plan(folder, tmp_path / "cache", flip_aug=True)


def latents_of(sample: Sample, flipped: bool = False, vae: FakeVae | None = None) -> np.ndarray:
    """What sd-scripts would have cached: the mean and a little noise, unscaled."""
    pixels = cut(load_pixels(sample), choose_crop(sample, flipped), sample.bucket)
    moments = encode_moments(vae or FakeVae(), to_tensor(pixels[None]))[0]  # type: ignore[arg-type]
    noise = np.random.default_rng(0).normal(size=moments[:4].shape) * np.exp(-2.0)
    return (moments[:4].numpy() + noise).astype(np.float32)


def write_theirs(path: Path, sample: Sample, suffix: str = "", **more: np.ndarray) -> None:
    """A file by hand, as the reference describes it."""
    arrays = {
        f"latents{suffix}": latents_of(sample),
        f"latents_flipped{suffix}": latents_of(sample, flipped=True),
        f"original_size{suffix}": np.array(sample.image_size),
        f"crop_ltrb{suffix}": np.array([0, 0, 1, 1]),
        "alpha_mask": np.ones((4, 4), np.float32),
    }
    np.savez(path, **{name: value for name, value in (arrays | more).items() if value is not None})


def name_of(sample: Sample, ending: str) -> Path:
    width, height = sample.image_size
    names = {
        "old": f"{sample.path.stem}.npz",
        "sd": f"{sample.path.stem}_{width:04d}x{height:04d}_sd.npz",
        "sdxl": f"{sample.path.stem}_{width:04d}x{height:04d}_sdxl.npz",
    }
    return sample.path.with_name(names[ending])


def looked(plan: DatasetPlan, family: str = "sd1", vae: FakeVae | None = None) -> KohyaLatents:
    found = KohyaLatents(family)
    found.look(plan.samples)
    found.check(plan.samples, lambda: vae or FakeVae())  # type: ignore[arg-type,return-value]
    return found


@pytest.mark.parametrize("ending", ["old", "sd", "sdxl"])
@pytest.mark.parametrize("sized", [False, True])
def test_files_of_every_name_and_key_are_read(
    plan: DatasetPlan, tmp_path: Path, ending: str, sized: bool
) -> None:
    for sample in plan.samples:
        width, height = (side // 8 for side in sample.bucket)
        write_theirs(name_of(sample, ending), sample, f"_{height}x{width}" if sized else "")
    cache = make_cache(tmp_path / "cache")
    cache.kohya = looked(plan)
    assert cache.kohya.text == "latents of 6 views are taken from files of sd-scripts"
    assert cache.plan(plan, QUIET).jobs == ()
    for sample in plan.samples:
        for flipped in (False, True):
            mean, log_variance = cache.moments(sample, flipped).chunk(2)
            assert np.array_equal(mean.numpy(), latents_of(sample, flipped))
            assert bool((log_variance == -30).all())


@pytest.mark.parametrize(
    ("more", "family", "words"),
    [
        ({"latents": np.zeros((4, 3, 3), np.float32)}, "sd1", "of another size"),
        ({"latents_flipped": None}, "sd1", "without mirrored latents"),
        ({"original_size": np.array([1, 2])}, "sd1", "of a picture of another size"),
        ({"latents": np.full((4, 16, 16), np.nan, np.float32)}, "sd1", "not all numbers"),
        ({"latents": np.array(["x"], dtype=object)}, "sd1", "can't be read"),
    ],
)
def test_files_that_do_not_fit_are_told_and_encoded_anew(
    plan: DatasetPlan, tmp_path: Path, more: dict[str, np.ndarray], family: str, words: str
) -> None:
    sample = next(one for one in plan.samples if one.bucket == (128, 128))
    write_theirs(name_of(sample, "old"), sample, **more)
    found = looked(plan, family)
    assert not found.found
    assert f"1 not used: {words}" in found.text
    cache = make_cache(tmp_path / "cache")
    cache.kohya = found
    assert len(cache.plan(plan, QUIET).jobs) == 3


def test_a_picture_that_was_edited_later_is_encoded_anew(plan: DatasetPlan) -> None:
    sample = plan.samples[0]
    file = name_of(sample, "sd")
    write_theirs(file, sample)
    os.utime(file, (1, 1))
    assert "1 not used: older than the picture" in looked(plan).text


def test_files_of_another_vae_are_not_used(plan: DatasetPlan) -> None:
    for sample in plan.samples:
        write_theirs(name_of(sample, "sd"), sample)
    found = looked(plan, vae=FakeVae(gain=2.0))
    assert not found.found
    assert "3 not used: made by another VAE" in found.text


def test_sdxl_does_not_read_what_is_named_sd(plan: DatasetPlan) -> None:
    write_theirs(name_of(plan.samples[0], "sd"), plan.samples[0])
    assert looked(plan, "sdxl").text == ""


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_what_is_written_has_their_format_and_is_read_again(
    plan: DatasetPlan, tmp_path: Path, family: str
) -> None:
    cache = filled_cache(plan, tmp_path / "cache")
    first = plan.samples[0]
    kept = name_of(first, "sdxl" if family == "sdxl" else "sd")
    np.savez(kept, alpha_mask=np.ones((2, 2), np.float32))
    paths = list(write_latents(plan.samples, family, cache.moments))
    assert paths == [latent_file(sample, family) for sample in plan.samples]
    for sample, path in zip(plan.samples, paths, strict=True):
        assert path == name_of(sample, "sdxl" if family == "sdxl" else "sd")
        width, height = (side // 8 for side in sample.bucket)
        with np.load(path) as file:
            names = {"latents", "latents_flipped", "original_size", "crop_ltrb"}
            sized = {f"{name}_{height}x{width}" for name in names}
            assert set(file.files) - {"alpha_mask"} == names | sized
            assert file["latents"].shape == (4, height, width)
            assert {str(file[name].dtype) for name in file.files} == {"float32"}
            assert file["original_size"].tolist() == list(sample.image_size)
            assert file["crop_ltrb"].tolist() == pytest.approx(
                letter_box(sample.image_size, sample.bucket)
            )
            mean = cache.moments(sample, True)[:4].numpy()
            deviation = (file["latents_flipped"] - mean).std() / np.exp(-2.0)
            assert 0.8 < deviation < 1.2
    with np.load(kept) as file:
        assert file["alpha_mask"].tolist() == [[1, 1], [1, 1]]
    assert len(looked(plan, family).found) == 6


def test_pictures_of_one_name_share_no_file(tmp_path: Path) -> None:
    """Of a.png and a.webp at one size sd-scripts' names tell nothing apart."""
    folder = make_folder(tmp_path / "p", [(128, 128), (128, 128), (200, 300)])
    picture(128, 128, 7).save(folder / "000.webp", lossless=True)
    plan = make_plan(folder, tmp_path / "cache")
    found = looked(plan)
    alone, left_out = found.to_write(plan.samples)
    assert [sample.path.name for sample in alone] == ["001.png", "002.png"]
    assert left_out == 2
    twin = plan.samples[0]
    for file in (name_of(twin, "old"), name_of(twin, "sd")):
        write_theirs(file, twin)
        found = looked(plan)
        assert not found.found
        assert "2 not used: of several pictures with one name" in found.text
    write_theirs(name_of(plan.samples[-1], "sd"), plan.samples[-1])
    assert len(looked(plan).found) == 1


def test_a_file_of_one_picture_counts_beside_one_of_two(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "p", [(128, 128)])
    picture(200, 300, 7).save(folder / "000.webp", lossless=True)
    plan = make_plan(folder, tmp_path / "cache")
    for sample in plan.samples:
        write_theirs(name_of(sample, "old"), sample)
        write_theirs(name_of(sample, "sd"), sample)
    assert set(looked(plan).found.values()) == {name_of(one, "sd") for one in plan.samples}


def test_several_sizes_have_keys_of_their_own(plan: DatasetPlan, tmp_path: Path) -> None:
    folder = plan.samples[0].path.parent
    small = make_plan(folder, tmp_path / "cache", resolution=64, flip_aug=True)
    cache = filled_cache(plan, tmp_path / "cache")
    cache.encode(cache.plan(small, QUIET), FakeVae(), ENCODE, QUIET)  # type: ignore[arg-type]
    samples = [*plan.samples, *small.samples]
    assert len(list(write_latents(samples, "sd1", cache.moments))) == 3
    with np.load(latent_file(plan.samples[0], "sd1")) as file:
        assert "latents" not in file.files
        assert sum(name.startswith("latents_flipped_") for name in file.files) == 2
    assert len(looked(plan).found) == 6
    assert len(looked(small).found) == 6


def test_files_and_our_own_mix_in_a_batch(plan: DatasetPlan, tmp_path: Path) -> None:
    write_theirs(name_of(plan.samples[0], "sd"), plan.samples[0])
    cache = make_cache(tmp_path / "cache", dtype="bfloat16")
    cache.kohya = looked(plan)
    vae = FakeVae(dtype=torch.bfloat16)
    cache.encode(cache.plan(plan, QUIET), vae, ENCODE, QUIET)  # type: ignore[arg-type]
    assert vae.num_encoded == 4
    together = torch.stack([cache.moments(plan.samples[0], False)] * 2)
    assert together.dtype == torch.float32
    assert cache.moments(plan.samples[1], True).dtype == torch.float32


def test_a_broken_file_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match="there already"):
        write_arrays(path, {"latents": np.zeros(1)})
    assert path.read_bytes() == b"mine"
