"""How many tokens a caption has and where it is cut off: CLIP's tokenizer, without the models.

CLIP cuts lower-cased text into words and these into pairs of letters that were often neighbours
(byte pair encoding; Radford et al., 2021, https://arxiv.org/abs/2103.00020, section 2.4).
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNK: Final = 75
"""Tokens of a caption that a text encoder reads at once, without begin and end."""
_MERGES: Final = Path(__file__).parents[1] / "families" / "assets" / "clip_merges.txt.gz"
_WORDS: Final = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_END_OF_WORD: Final = "</w>"


def count_tokens(text: str) -> int:
    """Return how many tokens a text has, without begin and end."""
    return len(_tokenizer().encode(text, add_special_tokens=False).ids)


def word_pieces(word: str) -> tuple[str, ...]:
    """Return the pieces that a text encoder reads a word as; a word that it knows is one piece."""
    encoding = _tokenizer().encode(word, add_special_tokens=False)
    return tuple(word[start:end] for start, end in encoding.offsets)


def word_rank(word: str) -> int | None:
    """Return how early a word got a piece of its own, from 0; None for a word of several pieces.

    Pieces were made in the order of how often their parts stood together, so common words have
    low ranks: "red" 736, "robot" 8,797, of 49,406.
    """
    ids = _tokenizer().encode(word, add_special_tokens=False).ids
    return ids[0] if len(ids) == 1 else None


def cut_off_at(text: str, max_tokens: int = CHUNK) -> int | None:
    """Return from which character on a text is not read any more; None if all of it is.

    The place is exact but for letters that Unicode's normal form C joins.
    """
    offsets = _tokenizer().encode(text, add_special_tokens=False).offsets
    return offsets[max_tokens][0] if len(offsets) > max_tokens else None


def count_all(texts: list[str]) -> list[int]:
    """Return the number of tokens of many texts, counted in parallel."""
    found = _tokenizer().encode_batch(texts, add_special_tokens=False)
    return [len(one.ids) for one in found]


@cache
def _tokenizer() -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    text = gzip.decompress(_MERGES.read_bytes()).decode("utf-8")
    merges = [(first, second) for first, second in map(str.split, text.splitlines())]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + _END_OF_WORD for letter in letters)]
    tokens += [first + second for first, second in merges]
    tokens.append("<|endoftext|>")
    numbers = {token: number for number, token in enumerate(tokens)}
    # Only counts and places are asked for, so the numbers of the tokens do not matter.
    model = models.BPE(
        numbers, merges, end_of_word_suffix=_END_OF_WORD, unk_token="<|endoftext|>", fuse_unk=False
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return tokenizer
