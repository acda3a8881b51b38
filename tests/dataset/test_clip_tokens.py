"""Counting tokens without torch: the numbers are those of the trainers' own tokenizer."""

from __future__ import annotations

import pytest

from sd_scripts.dataset.clip_tokens import CHUNK, count_tokens, cut_at
from sd_scripts.families.text import clip_tokenizer

CAPTIONS = (
    "",
    "a photo of mycat7, sitting",
    "1girl, solo, fate_(series), Ünïcödé, 写真, I'm HERE\n  spaced",
    "👩‍🚀 <|endoftext|> it's (masterpiece:1.2)",
    "e\u0301tude",
    "word " * 100,
)


@pytest.mark.parametrize("caption", CAPTIONS)
def test_the_numbers_are_the_trainers(caption: str) -> None:
    expected = clip_tokenizer()(caption, add_special_tokens=False).input_ids
    assert count_tokens([caption]) == [len(expected)]


def test_the_cut_is_right_after_the_last_token_that_counts() -> None:
    caption = "word " * 76
    cut = cut_at(caption)
    assert cut is not None
    assert caption[:cut].split() == ["word"] * CHUNK
    assert count_tokens([caption[:cut]]) == [CHUNK]
    assert cut_at("word " * 75) is None
    assert cut_at(caption, 150) is None


def test_many_at_once_and_none() -> None:
    assert count_tokens([]) == []
    assert count_tokens(["cat", "a cat"]) == [1, 2]
