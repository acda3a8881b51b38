"""From captions to text encoder states: tokens, chunks of 75, encoders run as deep as needed."""

from __future__ import annotations

import gzip
from functools import cache
from typing import TYPE_CHECKING, Final

from sd_scripts.families.configs import ASSETS

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

BOS: Final = 49406
EOS: Final = 49407


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte, in the vocabulary's order (GPT-2's alphabet).

    Printable bytes come first and stand for themselves; the others get letters from 256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(others)]


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    text = gzip.decompress((ASSETS / "clip_merges.txt.gz").read_bytes()).decode("utf-8")
    merges = [(first, second) for first, second in map(str.split, text.splitlines())]
    letters = _byte_letters()
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += [first + second for first, second in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges


@cache
def clip_tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """Return CLIP's tokenizer from the shipped vocabulary; `pad_token` is "!" for OpenCLIP's.

    One object per pad token is shared by all callers: add no tokens to it.
    """
    from transformers import CLIPTokenizer

    vocabulary, merges = _vocabulary()
    return CLIPTokenizer(
        vocab=dict(vocabulary), merges=list(merges), pad_token=pad_token, model_max_length=77
    )
