"""Weights in prompts: the grammar, the tokens, and the states that they multiply."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sd_scripts.families.base import LoadedModel
from sd_scripts.families.prompt_weights import parse_weights
from sd_scripts.families.text import (
    BOS,
    EOS,
    clip_tokenizer,
    count_tokens,
    tokenize,
    tokenize_weighted,
)
from sd_scripts.train.preview_text import encode_prompt, too_long, windows_needed
from sd_scripts.train.prompts import PreviewPrompt
from tests.families.conftest import Stored

_F = 1.1


@pytest.fixture
def any_model(stored: Stored) -> LoadedModel:
    return stored.model


_HOUSE = "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("normal text", [("normal text", 1)]),
        ("an (important) word", [("an ", 1), ("important", _F), (" word", 1)]),
        ("(unbalanced", [("unbalanced", _F)]),
        ("un[balanced", [("un", 1), ("balanced", 1 / _F)]),
        (r"\(literal\]", [("(literal]", 1)]),
        (r"a\b \\ \[c\]", [(r"ab \ [c]", 1)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", _F)]),
        ("a (b:2) [c:2] d:2)", [("a ", 1), ("b", 2), (" ", 1), ("c:2", 1 / _F), (" d:2)", 1)]),
        ("(a:-0.5)(b:.5)(c:1.)", [("a", -0.5), ("b", 0.5), ("c", 1)]),
        ("(a: b)", [("a: b", _F)]),
        ("(((a)))", [("a", _F**3)]),
        ("((a:2):3)", [("a", 6)]),
        ("([a)]", [("a", 1)]),
        ("a) b]", [("a) b]", 1)]),
        ("()[](:2)", []),
        ("", []),
        (
            _HOUSE,
            [
                ("a ", 1), ("house", 1.573), (" ", _F), ("on", 1), (" a ", _F), ("hill", 0.55),
                (", sun, ", _F), ("sky", 1.4641), (".", _F),
            ],
        ),
    ],
)  # fmt: skip
def test_the_grammar(text: str, expected: list[tuple[str, float]]) -> None:
    found = parse_weights(text)
    assert [piece.text for piece in found] == [text for text, _ in expected]
    assert [piece.weight for piece in found] == pytest.approx([weight for _, weight in expected])


_plain = st.text(st.characters(exclude_characters="()[]\\:", exclude_categories=["Cs"]))
_any = st.text(st.sampled_from("ab ()[]\\:1.,"), max_size=40)


def _escaped(text: str) -> str:
    for sign in "\\()[]":
        text = text.replace(sign, f"\\{sign}")
    return text


@settings(deadline=None)
@given(_any)
def test_escaped_text_is_plain_text(text: str) -> None:
    assert "".join(piece.text for piece in parse_weights(_escaped(text))) == text
    assert {piece.weight for piece in parse_weights(_escaped(text))} <= {1.0}


@settings(deadline=None)
@given(_any)
def test_any_text_can_be_read_and_neighbours_differ(text: str) -> None:
    found = parse_weights(text)
    assert all(piece.text and math.isfinite(piece.weight) for piece in found)
    assert all(a.weight != b.weight for a, b in pairwise(found))
    letters = [sign for sign in text if sign in "ab "]
    assert [sign for piece in found for sign in piece.text if sign in "ab "] == letters


@settings(deadline=None)
@given(_plain.filter(bool), st.integers(0, 4), st.integers(0, 4))
def test_nesting_multiplies(text: str, rounds: int, squares: int) -> None:
    wrapped = "(" * rounds + "[" * squares + text + "]" * squares + ")" * rounds
    (piece,) = parse_weights(wrapped)
    assert piece.text == text
    assert piece.weight == pytest.approx(_F ** (rounds - squares))


@settings(max_examples=40, deadline=None)
@given(_plain, st.sampled_from([None, 150]), st.sampled_from(["!", "<|endoftext|>"]))
def test_text_without_brackets_has_the_same_tokens(text: str, length: int | None, pad: str) -> None:
    tokenizer = clip_tokenizer(pad)
    tokens, weights = tokenize_weighted(tokenizer, [text], length)
    assert tokens.equal(tokenize(tokenizer, [text], length))
    assert weights.shape == (1, (length or 75) + 2)
    assert bool((weights == 1).all())


def test_weights_stand_at_their_tokens_in_every_window() -> None:
    text = "cat " * 74 + "(dog bird:2) [fish]"
    tokens, weights = tokenize_weighted(clip_tokenizer(), [text, "(cat:3)"], 150)
    assert tokens.shape == (2, 2, 77)
    assert weights[0, [0, 74, 75, 76, 77, 78]].tolist() == pytest.approx([1, 1, 2, 2, 1 / _F, 1])
    assert weights[1, :3].tolist() == [1, 3, 1]
    assert tokens[1, 0, :3].tolist() == [BOS, 2368, EOS]
    cut, weights = tokenize_weighted(clip_tokenizer(), ["(cat:2) " * 100], None)
    assert cut[0, 0, -1] == EOS
    assert weights[0].tolist() == [1.0] + [2.0] * 75 + [1.0]
    assert count_tokens(clip_tokenizer(), "((cat:2)) dog") == 2


@pytest.mark.parametrize("length", [None, 150])
def test_states_are_multiplied_and_nothing_else(any_model: LoadedModel, length: int | None) -> None:
    family = any_model.family
    plain = family.encode_text(any_model, ["a red cat", "a dog"], length)
    same = family.encode_text(any_model, ["a red cat", "a dog"], length, weighted=True)
    assert same.hidden.equal(plain.hidden)
    weighted = family.encode_text(any_model, ["a (red:1.5) cat", "[a dog]"], length, weighted=True)
    factors = torch.ones(plain.hidden.shape[:2])
    factors[0, 2] = 1.5
    factors[1, 1:3] = 1 / _F
    torch.testing.assert_close(weighted.hidden, plain.hidden * factors.unsqueeze(-1))
    if plain.pooled is not None:
        assert weighted.pooled is not None
        assert weighted.pooled.equal(plain.pooled)


def test_previews_take_as_many_windows_as_they_need(any_model: LoadedModel) -> None:
    short, long = "a cat", "cat " * 80
    assert [windows_needed(any_model, [text]) for text in (short, long, "cat " * 300)] == [1, 2, 3]
    text = encode_prompt(any_model, [short, long], None)
    assert text.hidden.shape[:2] == (2, 152)
    heavier = encode_prompt(any_model, [short, f"({long}:1.2)"], None)
    assert heavier.hidden[0].equal(text.hidden[0])
    assert not heavier.hidden[1].equal(text.hidden[1])
    prompts = [PreviewPrompt(short), PreviewPrompt("cat " * 226), PreviewPrompt("cat " * 225)]
    (problem,) = too_long(any_model, prompts)
    assert "225 tokens" in problem.message
