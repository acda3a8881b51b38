"""Painting: a picture depends on its own prompt and seed, not on the batch it is painted in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sd_scripts.families.base import LoadOptions
from sd_scripts.families.registry import FAMILIES
from sd_scripts.train.paint import Interrupted, denoise, paint
from sd_scripts.train.prompts import PreviewPrompt
from tests.support.tiny_models import make_tiny_folder


@pytest.mark.parametrize("sampler", ["ddim", "euler_a"])
def test_a_batch_paints_what_single_calls_paint(tmp_path: Path, sampler: str) -> None:
    folder = make_tiny_folder("sd1", tmp_path / "model")
    model = FAMILIES["sd1"].load(folder, LoadOptions())
    prompts = [
        PreviewPrompt(text, width=64, height=64, sample_steps=3, sample_sampler=sampler)
        for text in ("a red apple", "a house", "")
    ]

    def encode(texts: list[str]):
        return model.family.encode_text(model, texts)

    together = paint(model, prompts, [1, 2, 3], encode)
    for number, prompt in enumerate(prompts):
        alone = paint(model, [prompt], [number + 1], encode)[0]
        difference = np.asarray(alone, int) - np.asarray(together[number], int)
        assert abs(difference).max() <= 1
    assert np.asarray(together[0]).tobytes() != np.asarray(together[1]).tobytes()
    with pytest.raises(Interrupted):
        denoise(model, prompts, [1, 2, 3], encode, should_stop=lambda: True)
