"""Words that a model does not know yet: tokenizers of their own in which each is its vectors."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from sd_scripts.dataset.new_word import word_pattern
from sd_scripts.errors import Problem, UserError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

OPTION: Final = "token_string"
_FIRST_PRIVATE: Final = 0xF0000
"""First letter of a private Unicode plane; captions have none of them. One stands for a vector."""


def with_new_word(tokenizer: CLIPTokenizer, word: str, num_vectors: int) -> CLIPTokenizer:
    """Return a copy of a tokenizer that reads `word` as `num_vectors` new tokens in a row.

    Their numbers follow those of all known tokens, `len(tokenizer)`. As all words of CLIP, the new
    one may be written in capitals; within a longer word ("mycats") it is not seen. The tokenizer
    itself does the replacing, before it cuts and pads, so a caption that is cut off counts every
    vector. `tokenizer` stays as it is. Raises `UserError` if it knows the word already.
    """
    refuse_known_word(tokenizer, word)
    own = copy.deepcopy(tokenizer)
    known = own.get_vocab()
    first = _FIRST_PRIVATE
    while chr(first) in known:  # of another new word
        first += 1
    letters = [chr(first + number) for number in range(num_vectors)]
    backend: Any = own.backend_tokenizer
    from tokenizers import Regex, normalizers

    wanted = Regex(word_pattern(_normal(own, word)))
    replacing = normalizers.Replace(wanted, "".join(letters))
    backend.normalizer = normalizers.Sequence([backend.normalizer, replacing])
    added = own.add_tokens(letters)
    assert added == num_vectors, f"{added} of {num_vectors} tokens are new"
    return own


def refuse_known_word(tokenizer: CLIPTokenizer, word: str) -> None:
    """Raise `UserError` if a word cannot be new: other programs could not load it either."""
    if not word_parts(tokenizer, word):
        raise UserError(
            f"“{word}” is nothing that the model can read",
            option=OPTION,
            hint="use letters and digits, for example mycat7",
        )
    if _normal(tokenizer, word) in tokenizer.get_vocab():
        raise UserError(
            f"the model knows “{word}” already, so it cannot be a new word",
            option=OPTION,
            hint=f"choose one that it does not know, for example my-{word} or {word}7x; a known "
            "word that comes close goes into init_word",
        )


def known_word_notes(tokenizer: CLIPTokenizer, word: str) -> tuple[Problem, ...]:
    """Tell of a word that loses a meaning: it is no new token, but a known word all the same."""
    if len(word_parts(tokenizer, word)) > 1:
        return ()
    return (
        Problem(
            f"the model has seen “{word}” before; with the embedding, that meaning is gone",
            OPTION,
            f"a word that it does not know is safer, for example {word}7x",
            "warning",
        ),
    )


def word_parts(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    """Return the token numbers of a text, without begin and end."""
    numbers: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return numbers


def _normal(tokenizer: CLIPTokenizer, word: str) -> str:
    backend: Any = tokenizer.backend_tokenizer
    normal: str = backend.normalizer.normalize_str(word)
    return normal
