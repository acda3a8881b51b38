"""How many of CLIP's tokens a caption has, and where it is cut off: without torch, in microseconds.

Source: A. Radford et al., 2021, https://arxiv.org/abs/2103.00020, section 2.4: byte-pair encoding
of lower-case text with 49,152 parts.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import sd_scripts

CHUNK: Final = 75
"""Tokens of one window of the text encoder, without begin and end."""
_MERGES: Final = Path("families", "assets", "clip_merges.txt.gz")
_WORDS: Final = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte, in the vocabulary's order (GPT-2's alphabet).

    Printable bytes come first and stand for themselves; the others get letters from 256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(others)]


@cache
def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return CLIP's tokens with their numbers, and the merges that make them, from what ships.

    One object is shared by all callers: change nothing in it.
    """
    file = Path(sd_scripts.__file__).parent / _MERGES
    text = gzip.decompress(file.read_bytes()).decode("utf-8")
    merges = [(first, second) for first, second in map(str.split, text.splitlines())]
    letters = _byte_letters()
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += [first + second for first, second in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges


@cache
def _tokenizer() -> Any:
    """Return the tokenizer that transformers' CLIPTokenizer wraps, made without importing torch."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    vocabulary, merges = clip_vocabulary()
    model = BPE(
        vocab=dict(vocabulary),
        merges=list(merges),
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        unk_token="<|endoftext|>",
    )
    tokenizer: Any = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    return tokenizer


def count_tokens(captions: Sequence[str]) -> list[int]:
    """Return how many tokens each caption has, without begin and end."""
    if not captions:
        return []
    encoded = _tokenizer().encode_batch(list(captions), add_special_tokens=False)
    return [len(one) for one in encoded]


def cut_at(caption: str, limit: int = CHUNK) -> int | None:
    """Return how many characters of a caption lie within its first `limit` tokens.

    None when all of it does. What comes after is not seen by the text encoder. The place is exact
    for composed letters (NFC), as nearly all texts have; else it may be some letters off.
    """
    encoded = _tokenizer().encode(caption, add_special_tokens=False)
    return None if len(encoded) <= limit else int(encoded.offsets[limit - 1][1])
