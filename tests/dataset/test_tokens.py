"""Tokens are counted as the trainers' own tokenizer counts them."""

from __future__ import annotations

import pytest

from sd_scripts.dataset.tokens import count_all, count_tokens, cut_off_at
from sd_scripts.families.text import clip_tokenizer

TEXTS = (
    "",
    "a photo of a cat",
    "1girl, long_hair, ohwx, (masterpiece:1.2), it's  a\ttest!!! 12345",
    "Ein Café über den Flüssen, 猫が好き, ελληνικά, e\u0301clair, 😀😀",
    "supercalifragilisticexpialidocious ^_^ <|x|> \u00a0 don't'll",
)


@pytest.mark.parametrize("text", TEXTS)
def test_counts_are_those_of_the_trainers(text: str) -> None:
    expected = len(clip_tokenizer()(text, add_special_tokens=False).input_ids)
    assert count_tokens(text) == expected
    assert count_all([text, "a"]) == [expected, 1]


def test_where_a_caption_is_cut_off() -> None:
    text = " ".join(f"w{number}x" for number in range(40))  # "w", digits and "x" are tokens each
    place = cut_off_at(text, 10)
    assert place is not None
    assert count_tokens(text[:place]) == 10
    assert cut_off_at("a cat", 2) is None
    assert cut_off_at("a cat", 1) == 2
