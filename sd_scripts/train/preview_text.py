"""Texts of preview prompts: weights are read, and long prompts get as many windows as they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sd_scripts.errors import Problem
from sd_scripts.families.base import LoadedModel, TextConditioning
from sd_scripts.families.text import CHUNK, count_tokens
from sd_scripts.train.prompts import PreviewPrompt

_MAX_WINDOWS: Final = 3


def windows_needed(model: LoadedModel, texts: Sequence[str]) -> int:
    """Return how many windows of 75 tokens the longest of `texts` fills, at most 3."""
    longest = max((count_tokens(t, text) for t in model.tokenizers for text in texts), default=0)
    return min(max(-(-longest // CHUNK), 1), _MAX_WINDOWS)


def encode_prompt(
    model: LoadedModel, texts: Sequence[str], clip_skip: int | None
) -> TextConditioning:
    """Encode a prompt with its negative one, as long as the longer of the two.

    Weights multiply token states just as they do for weighted captions.
    """
    length = windows_needed(model, texts) * CHUNK
    return model.family.encode_text(model, texts, length, clip_skip, weighted=True)


def too_long(model: LoadedModel, prompts: Sequence[PreviewPrompt]) -> list[Problem]:
    """Tell which prompts are cut off."""
    limit = _MAX_WINDOWS * CHUNK
    long = [
        prompt.prompt
        for prompt in prompts
        if any(count_tokens(t, text) > limit for t in model.tokenizers for text in prompt.texts)
    ]
    return [
        Problem(
            f"The preview prompt “{text[:60]}” has more than {limit} tokens; its end is cut off",
            "sample_prompts",
            "Make it shorter.",
            "warning",
        )
        for text in long
    ]
