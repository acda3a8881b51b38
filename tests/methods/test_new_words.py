"""A new word in a tokenizer's own copy: as many tokens as vectors, wherever it stands as a word."""

from __future__ import annotations

import pytest
from transformers import CLIPTokenizer

from sd_scripts.errors import UserError
from sd_scripts.families.text import VOCABULARY_SIZE, clip_tokenizer, tokenize
from sd_scripts.methods.new_words import known_word_notes, with_new_word, word_parts

NEW = [VOCABULARY_SIZE, VOCABULARY_SIZE + 1, VOCABULARY_SIZE + 2]
A, PHOTO, OF, CAT = 320, 1125, 539, 2368


@pytest.fixture(scope="module")
def extended() -> CLIPTokenizer:
    return with_new_word(clip_tokenizer("!"), "mycat7", 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a photo of mycat7", [A, PHOTO, OF, *NEW]),
        ("MYCAT7 cat", [*NEW, CAT]),
        ("mycat7,mycat7", [*NEW, 267, *NEW]),
        ("mycat7's", [*NEW, 568]),
        ("(mycat7)", [263, *NEW, 264]),
        ("a cat", [A, CAT]),
    ],
)
def test_the_word_is_its_vectors_wherever_it_stands(
    extended: CLIPTokenizer, text: str, expected: list[int]
) -> None:
    assert word_parts(extended, text) == expected


@pytest.mark.parametrize("text", ["mycat77", "mymycat7", "mycat7s"])
def test_a_longer_word_is_another_one(extended: CLIPTokenizer, text: str) -> None:
    assert word_parts(extended, text) == word_parts(clip_tokenizer(), text)


@pytest.mark.parametrize("word", ["<cat-toy>", "кот7", "myCat*", "my.cat"])
def test_words_may_hold_other_signs(word: str) -> None:
    extended = with_new_word(clip_tokenizer(), word, 1)
    assert word_parts(extended, f"a {word}, a cat") == [A, NEW[0], 267, A, CAT]


def test_a_caption_that_is_cut_off_counts_every_vector(extended: CLIPTokenizer) -> None:
    (window,) = tokenize(extended, ["cat " * 74 + "mycat7"], None)[0].tolist()
    assert window == [49406, *[CAT] * 74, NEW[0], 49407]
    first, second = tokenize(extended, ["cat " * 74 + "mycat7"], 150)[0].tolist()
    assert first[-2:] == [NEW[0], 49407]
    assert second[:4] == [49406, *NEW[1:], 49407]


def test_the_shared_tokenizer_never_learns_the_word(extended: CLIPTokenizer) -> None:
    assert len(extended) == VOCABULARY_SIZE + 3
    assert len(clip_tokenizer("!")) == VOCABULARY_SIZE
    assert max(word_parts(clip_tokenizer("!"), "a mycat7")) < VOCABULARY_SIZE


def test_a_known_word_is_refused_with_a_remedy() -> None:
    with pytest.raises(UserError, match="knows “Cat” already") as caught:
        with_new_word(clip_tokenizer(), "Cat", 1)
    assert caught.value.problems[0].option == "token_string"
    assert "init_word" in (caught.value.problems[0].hint or "")


def test_a_rare_word_that_was_seen_is_told() -> None:
    (note,) = known_word_notes(clip_tokenizer(), "sks")
    assert note.severity == "warning"
    assert known_word_notes(clip_tokenizer(), "mycat7") == ()
