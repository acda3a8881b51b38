"""The captioner: a plain BLIP for transformers, with a vocabulary of its own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BlipForConditionalGeneration, BlipProcessor

from tests.starter.support import drawn, scene_of
from tools.starter.captioner import (
    IGNORED,
    NAMES,
    UNKNOWN,
    Lesson,
    SideTask,
    captioner_loss,
    inner_pictures,
    make_captioner,
    make_processor,
    name_of,
    save_captioner,
    tokens_of,
    vocabulary,
)
from tools.starter.scenes import COLOURS, SIZES, SUBJECTS, sentence
from tools.starter.strangers import Shown
from tools.starter.training import pictures_to_tensor


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an untrained captioner."""
    folder = tmp_path_factory.mktemp("captioner")
    save_captioner(make_captioner(), make_processor(), folder)
    return folder


def test_every_word_of_a_caption_is_one_piece() -> None:
    """The vocabulary has all words; others are spelled, never unknown."""
    pieces = vocabulary()
    for name in NAMES:
        for colour in COLOURS:
            for size in SIZES:
                assert set(sentence(name, colour, size).split()) <= pieces.keys()
    tokenizer = make_processor().tokenizer
    for text in ("a small zwx robot on a red background", "Two lions, 1984."):
        ids = tokenizer(text)["input_ids"]
        assert pieces["[UNK]"] not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == (
            text.lower().replace(" ", "")
        )


def test_what_is_saved_loads_and_captions(saved: Path) -> None:
    """With transformers alone, from local files, one picture or many, greedy or by beams."""
    model = BlipForConditionalGeneration.from_pretrained(
        saved, local_files_only=True, dtype=torch.float32
    )
    processor: Any = BlipProcessor.from_pretrained(saved, local_files_only=True)
    inputs = processor(images=drawn("red", "blue"), return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 3, 96, 96)
    greedy = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    assert greedy.shape[0] == 2
    assert torch.equal(greedy, model.generate(**inputs, max_new_tokens=6, do_sample=False))
    assert model.generate(**inputs, max_new_tokens=6, num_beams=2).shape[0] == 2
    for tokens in greedy:
        assert isinstance(processor.decode(tokens, skip_special_tokens=True), str)
    prompted = processor(images=drawn("red"), text="a picture of", return_tensors="pt")
    said = processor.decode(model.generate(**prompted, max_new_tokens=6)[0], True)
    assert said.startswith("a picture of")


def test_the_weights_are_fp16_and_small(saved: Path) -> None:
    """All files together ship with at most 1.8 MB, and hold the same as before."""
    assert sum(path.stat().st_size for path in saved.iterdir()) <= 1_800_000
    model = BlipForConditionalGeneration.from_pretrained(saved, local_files_only=True)
    assert model.dtype is torch.float16
    fresh = make_captioner()
    for name, value in fresh.state_dict().items():
        assert torch.equal(value.half(), model.state_dict()[name].half()), name


def test_training_sees_what_the_processor_gives() -> None:
    """Smooth pictures are shrunk by Pillow and by torch alike."""
    pictures = drawn("red", "blue")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = pictures_to_tensor(np.stack([np.asarray(picture) for picture in pictures]))
    expected = make_processor()(images=pictures, return_tensors="pt")["pixel_values"]
    difference = (inner_pictures(given) - expected).abs()
    assert difference.mean() < 0.002
    assert difference.max() < 0.3, "Pillow rounds between its two passes"


def test_a_prompt_is_read_but_not_learned() -> None:
    """Start, prompt and padding have no label; the first token is BLIP's own start."""
    processor = make_processor()
    tokens = tokens_of(processor, ["a red thing", "a star"], [False, True])
    first, second = tokens["labels"]
    pieces = vocabulary()
    assert tokens["input_ids"][:, 0].tolist() == [pieces["[DEC]"]] * 2
    assert first.tolist()[:5] == [
        IGNORED,
        *(pieces[w] for w in ("a", "red", "thing", "[SEP]")),
    ]
    assert set(first.tolist()[5:]) == {IGNORED}
    assert second.tolist()[:4] == [IGNORED] * 4
    assert second.tolist()[4:] == [pieces[w] for w in ("a", "star", "[SEP]")]


@pytest.mark.parametrize(
    ("character", "name"), [(None, SUBJECTS[0].word), ("🐅", "animal"), ("🔨", UNKNOWN)]
)
def test_strangers_have_wider_words(character: str | None, name: str) -> None:
    """A kind, or "thing"; never a subject's word."""
    assert name_of(Shown(scene_of(0), character)) == name


def test_the_loss_is_that_of_transformers() -> None:
    """Next words by cross entropy, as the model itself computes it from labels."""
    captioner = make_captioner()
    captioner.train(False)
    pixels = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    tokens = tokens_of(make_processor(), ["a red thing", "a star"], [True, False])
    zeros = torch.zeros(2, dtype=torch.int64)
    with torch.no_grad():
        words, side = captioner_loss(
            captioner, SideTask(), Lesson(pixels, tokens, zeros, zeros, zeros)
        )
        expected = captioner(pixel_values=pixels, **tokens).loss
    assert words.item() == pytest.approx(expected.item(), rel=1e-5)
    assert side.item() > 0
