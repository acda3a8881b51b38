"""The starter's pictures: worn ones, generated ones, the demo's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.starter.support import drawn
from tests.support.tiny_models import make_tiny_folder
from tools.starter import demo_pictures
from tools.starter.demo_pictures import varied_scenes, write_pictures
from tools.starter.generate import Way, generate, load_model
from tools.starter.scenes import COLOURS, SUBJECTS
from tools.starter.strangers import LOOK_ALIKES, kind_of
from tools.starter.wear import Wear, blur, warp, wear


def stream(seed: int = 0) -> torch.Generator:
    """Return a random stream."""
    return torch.Generator().manual_seed(seed)


def test_wear_is_seeded_and_a_part_stays_whole() -> None:
    """The same seed wears alike; what is not worn is untouched."""
    pictures = torch.rand(8, 3, 32, 32, generator=stream()) * 2 - 1
    worn = wear(pictures, stream(1), Wear(share=0.5))
    assert torch.equal(worn, wear(pictures, stream(1), Wear(share=0.5)))
    assert not torch.equal(worn, wear(pictures, stream(2), Wear(share=0.5)))
    kept = [torch.equal(a, b) for a, b in zip(worn, pictures, strict=True)]
    assert 0 < sum(kept) < 8
    assert torch.equal(wear(pictures, stream(1), Wear(share=0.0)), pictures)
    assert worn.abs().max() <= 1


def test_no_wear_changes_nothing() -> None:
    """All amounts at zero are the picture itself."""
    pictures = torch.rand(2, 3, 32, 32, generator=stream()) * 2 - 1
    none = Wear(share=1, blur=0, gain=0, shift=0, noise=0, clouds=0, warp=0)
    assert torch.allclose(wear(pictures, stream(), none), pictures, atol=1e-5)


def test_blur_spreads_a_point_by_its_deviation() -> None:
    """The variance of a blurred point is the Gaussian's; each picture has its own."""
    point = torch.zeros(2, 3, 33, 33)
    point[:, :, 16, 16] = 1
    made = blur(point, torch.tensor([1.0, 1.5]))
    places = torch.arange(33) - 16.0
    for picture, deviation in zip(made, (1.0, 1.5), strict=True):
        across = picture[0].sum(0)
        assert across.sum() == pytest.approx(1, abs=1e-5)
        assert (across * places**2).sum() == pytest.approx(deviation**2, rel=0.02)


def test_warp_bends_but_keeps_flat_pictures() -> None:
    """A picture of one colour stays as it is."""
    flat = torch.full((1, 3, 32, 32), 0.25)
    amount = torch.full((1, 1, 1, 1), 3.0)
    assert torch.allclose(warp(flat, amount, stream()), flat)
    busy = torch.rand(1, 3, 32, 32, generator=stream())
    assert not torch.allclose(warp(busy, amount, stream()), busy, atol=0.05)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny SD 1.x folder."""
    return make_tiny_folder("sd1", tmp_path_factory.mktemp("model") / "sd1")


@pytest.mark.parametrize("sampler", ["ddim", "euler_a"])
def test_pictures_do_not_depend_on_their_batch(tiny_folder: Path, sampler: str) -> None:
    """Each prompt has its own seed, also for samplers that draw noise on the way."""
    model = load_model(tiny_folder)
    prompts, seeds = ["a cat", "a cat"], [1, 2]
    counted: list[int] = []
    one = generate(model, prompts, seeds, Way(2, 4.0, sampler, batch=1))
    all_at_once = generate(model, prompts, seeds, Way(2, 4.0, sampler, batch=2), counted.append)
    for first, second in zip(one, all_at_once, strict=True):
        difference = np.asarray(first, np.int16) - np.asarray(second, np.int16)
        assert abs(difference).max() <= 1
    assert not np.array_equal(np.asarray(one[0]), np.asarray(one[1]))
    assert counted == [2]


def test_threads_paint_pictures_of_their_own_and_in_order(tiny_folder: Path) -> None:
    model = load_model(tiny_folder)
    asked = (["a cat", "a dog", "a cup"], [1, 2, 3], Way(2, 4.0, "ddim"))
    counted: list[int] = []
    alone, before = generate(model, *asked), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        together = generate(model, *asked, counted.append)
        assert torch.get_num_threads() == 2, "as before"
    finally:
        torch.set_num_threads(before)
    for first, second in zip(alone, together, strict=True):
        difference = np.asarray(first, np.int16) - np.asarray(second, np.int16)
        assert abs(difference).max() <= 1
    assert counted == [2, 3]


def test_pictures_are_those_of_the_stock_pipeline(tiny_folder: Path) -> None:
    """The same seed, sampler, steps and guidance give the same picture in diffusers."""
    model = load_model(tiny_folder)
    (made,) = generate(model, ["a cat"], [7], Way(2, 4.0, "ddim"))
    from sd_scripts.train.samplers import make_sampler

    sampler = make_sampler("ddim", prediction_type="epsilon", zero_terminal_snr=False)
    pipeline: Any = model.family.make_pipeline(model, sampler)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a cat",
        num_inference_steps=2,
        guidance_scale=4.0,
        generator=stream(7),
        width=128,
        height=128,
        output_type="np",
    ).images[0]
    difference = np.asarray(made, np.float32) / 255 - expected
    assert abs(difference).max() < 2 / 255


def test_demo_scenes_take_turns() -> None:
    """Every colour and both sizes, and subjects as evenly as can be."""
    scenes = varied_scenes("it", SUBJECTS[:8], 16)
    assert scenes == varied_scenes("it", SUBJECTS[:8], 16)
    assert {scene.colour for scene in scenes} == set(COLOURS)
    sizes = [scene.size for scene in scenes]
    assert sizes.count("small") == sizes.count("large")
    words = [scene.subject.word for scene in scenes]
    assert {words.count(word) for word in words} == {2}
    assert len({(s.subject.word, s.colour) for s in scenes}) == 16


def test_demo_pictures_have_their_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caption beside each: the trigger for the subjects, the wider word for their classes."""
    monkeypatch.setattr(demo_pictures, "draw", lambda scene: drawn("red")[0])
    folders = write_pictures(tmp_path)
    names = [folder.relative_to(tmp_path / "pictures").as_posix() for folder in folders]
    assert names == ["robot", "lion", "class_object", "class_animal", "class_all"]
    words = ("zwx robot", "zwx lion", "object", "animal")
    for folder, word in zip(folders, words, strict=False):
        pictures = sorted(folder.glob("*.png"))
        assert 12 <= len(pictures) <= 20
        for path in pictures:
            with Image.open(path) as picture:
                assert picture.size == (128, 128)
            assert f" {word} on a" in path.with_suffix(".txt").read_text(encoding="utf-8")


def test_each_thing_that_the_base_knows_has_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_pictures, "draw", lambda scene: drawn("red")[0])
    everything = write_pictures(tmp_path)[-1]
    captions = [path.read_text(encoding="utf-8") for path in everything.glob("*.txt")]
    named = {s.word for s in SUBJECTS for caption in captions if f" {s.word} on " in caption}
    assert len(captions) == len(SUBJECTS)
    assert len(named) >= len(SUBJECTS) * 3 // 4 - 1


def test_kinds_of_strangers() -> None:
    """Surely, or not at all; what looks like a subject is no stranger."""
    assert [kind_of(c) for c in "🐅🥝🍕🌹🚂🍴🔨"] == [
        *("animal", "fruit", "food", "plant", "vehicle"),
        None,
        None,
    ]
    assert not LOOK_ALIKES & {subject.glyph for subject in SUBJECTS}
