"""Captioning jobs with tiny captioners of several kinds, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sd_scripts.captioning.captioner import Captioner
from sd_scripts.captioning.captioner import generation_settings as settings_of
from sd_scripts.errors import UserError
from sd_scripts.families.devices import choose_device, choose_dtype
from sd_scripts.runs.undo import undo
from tests.captioning.jobs import Bench, caption_job, captioning
from tests.support.tiny_captioning import (
    make_blip2,
    make_captioner,
    make_florence,
    make_git,
    make_qwen,
    paint,
)

BEAMS = {"beam_search": True, "num_beams": 2, "max_length": 12}


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_captioner(tmp_path_factory.mktemp("blip"))


@pytest.fixture
def job(tmp_path: Path, blip: Path) -> Bench:
    pictures = paint(tmp_path / "pictures", "red.png", "green.png", "blue.png")
    return captioning(pictures, tmp_path, blip, max_length=12)


def expected(blip: Path, picture: Path, **settings: object) -> str:
    """Caption a picture with transformers alone."""
    from transformers import AutoProcessor, BlipForConditionalGeneration

    processor = AutoProcessor.from_pretrained(blip)
    model = BlipForConditionalGeneration.from_pretrained(blip).eval()
    # 32 pixels, bicubic, squashed; CLIP's mean and deviation.
    small = Image.open(picture).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    deviation = np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = ((np.asarray(small) / 255 - mean) / deviation).transpose(2, 0, 1)[None]
    tokens = model.generate(pixel_values=torch.from_numpy(pixels).float(), **settings)
    text: str = processor.tokenizer.decode(tokens[0], skip_special_tokens=True)
    return text


def test_beams_give_what_transformers_gives(job: Bench, blip: Path) -> None:
    assert job.run(batch_size=2, beam_search=True, num_beams=2, prefix="my ", postfix=", yes") == 0
    for name in ("red", "green", "blue"):
        caption = expected(
            blip,
            job.pictures / f"{name}.png",
            num_beams=2,
            do_sample=False,
            max_length=12,
            min_length=5,
        )
        assert job.texts()[f"{name}.caption"] == f"my {caption}, yes\n"
    assert job.end().reason == "Finished: 3 of 3 pictures done"


def test_words_drawn_at_random_depend_on_the_seed_alone(job: Bench) -> None:
    found = []
    for name, seed, threads in (("a", 1, 0), ("b", 1, 3), ("c", 2, 3)):
        assert job.run(name, seed=seed, max_data_loader_n_workers=threads) == 0
        found.append(job.texts())
    assert found[0] == found[1] != found[2]


def test_captions_are_added_as_lines_and_can_be_undone(job: Bench) -> None:
    (job.pictures / "red.caption").write_text("mine\r\n", newline="")
    assert job.run(append_captions=True, **BEAMS) == 0
    mine, new = job.texts()["red.caption"].splitlines()
    assert mine == "mine"
    assert new
    assert job.run("again", append_captions=True, **BEAMS) == 0
    assert job.texts()["red.caption"].splitlines() == [mine, new]
    undo(job.folder("again"))
    undo(job.folder())
    assert (job.pictures / "red.caption").read_bytes() == b"mine\r\n"
    assert list(job.texts()) == ["red.caption"]


def test_broken_pictures_are_named(job: Bench) -> None:
    (job.pictures / "gap.png").write_bytes(b"")
    assert job.run(**BEAMS) == 0
    assert "gap.png is empty" in job.warnings()[0]
    assert len(job.texts()) == 3


@pytest.mark.parametrize("make", [make_git, make_blip2, make_florence, make_qwen])
def test_other_captioners_by_the_same_interface(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    folder = make(tmp_path / "model")
    # Of different sizes, so that Qwen's batch has questions of different lengths.
    pictures = paint(tmp_path / "p", "red.png", "green.png")
    paint(pictures, "blue.png", size=(60, 30))
    job = captioning(pictures, tmp_path, folder, **BEAMS)
    assert job.run("two", batch_size=2, caption_extension=".two") == 0
    assert job.run("one", batch_size=1, caption_extension=".one") == 0
    texts = job.texts()
    assert len(texts) == 6
    for name in ("red", "green", "blue"):
        assert texts[f"{name}.two"].strip()
        assert texts[f"{name}.two"] == texts[f"{name}.one"]
        # Nothing of the question is in the answer.
        assert "describe" not in texts[f"{name}.two"].lower()


def test_words_go_before_what_blip_2_answers(tmp_path: Path) -> None:
    engine = Captioner(make_blip2(tmp_path), caption_job(caption_prompt="a red", **BEAMS))
    batch = engine.collate([engine.prepare(Image.new("RGB", (8, 8)))] * 2)
    # Three places for the picture, the two words.
    assert batch["input_ids"].tolist() == [[4, 4, 4, 5, 8]] * 2
    assert all(engine.infer(batch))


def test_a_prompt_begins_the_caption(blip: Path) -> None:
    engine = Captioner(blip, caption_job(caption_prompt="a red", **BEAMS))
    batch = engine.collate([engine.prepare(Image.new("RGB", (8, 8)))] * 2)
    outcomes = engine.infer(batch)
    assert all(text.startswith("a red") for text in outcomes)
    assert outcomes[0] == outcomes[1]
    engine.close()


def test_weights_that_do_not_fit_are_told(blip: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "copy"
    shutil.copytree(blip, folder)
    weights = load_file(folder / "model.safetensors")
    taken = next(name for name in weights if "vision" in name)
    del weights[taken]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="weights are missing") as caught:
        Captioner(folder, caption_job())
    assert caught.value.problems[0].option == "caption_weights"
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be loaded"):
        Captioner(folder, caption_job())


def test_precision_and_device() -> None:
    cpu = torch.device("cpu")
    assert choose_device("cpu") == cpu
    assert choose_dtype(None, cpu) == torch.float32
    assert choose_dtype("bf16", cpu) == torch.bfloat16
    assert choose_dtype(None, torch.device("cuda")) == torch.float16
    with pytest.raises(UserError, match="needs a graphics card"):
        choose_dtype("fp16", cpu)
    with pytest.raises(UserError, match="cannot run on directml"):
        choose_device("directml")


def test_generation_settings() -> None:
    beams = caption_job(beam_search=True, num_beams=3, max_length=20, min_length=2).wording
    assert settings_of(beams, counts_prompt=True) == {
        "do_sample": False,
        "num_beams": 3,
        "max_length": 20,
        "min_length": 2,
    }
    drawn = caption_job(top_p=0.5).wording
    assert settings_of(drawn, counts_prompt=False) == {
        "do_sample": True,
        "num_beams": 1,
        "top_p": 0.5,
        "max_new_tokens": 75,
        "min_new_tokens": 5,
    }
