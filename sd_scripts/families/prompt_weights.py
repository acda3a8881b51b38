"""Weights in prompts: `(word)`, `(word:1.3)`, `[word]`, nested and escaped (torch-free).

The grammar is that of AUTOMATIC1111's web UI, which sd-scripts has for `weighted_captions`:
- `(a)` times 1.1, `[a]` divided by 1.1, `(a:1.3)` times 1.3; nested ones multiply;
- `\\(`, `\\)`, `\\[`, `\\]` and `\\\\` are the plain signs, any other backslash vanishes;
- a bracket that is never closed reaches to the end, one that was never opened is plain text.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_FACTOR: Final = 1.1
_PIECE: Final = re.compile(r"\\[()\[\]\\]|\\|[()\[\]]|:[+-]?[.\d]+\)|[^\\()\[\]:]+|:")
_CLOSING_WEIGHT: Final = re.compile(r":([+-]?(?:\d+\.?\d*|\.\d+))\)")


class Weighted(NamedTuple):
    """A piece of text and how much it counts."""

    text: str
    weight: float


def parse_weights(text: str) -> list[Weighted]:
    """Split a prompt into pieces of one weight each; neighbours of the same weight are one."""
    found = _Pieces()
    for piece in _PIECE.findall(text):
        found.take(piece)
    found.close_all()
    return _merged(found.texts, found.weights)


class _Pieces:
    """Pieces read so far, and where brackets of both kinds were opened."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.weights: list[float] = []
        self._open: dict[str, list[int]] = {"(": [], "[": []}

    def take(self, piece: str) -> None:
        """Read the next piece: a sign that opens or closes, or text."""
        weight = _CLOSING_WEIGHT.fullmatch(piece)
        if piece in self._open:
            self._open[piece].append(len(self.texts))
        elif weight and self._open["("]:
            self._multiply("(", float(weight[1]))
        elif piece == ")" and self._open["("]:
            self._multiply("(", _FACTOR)
        elif piece == "]" and self._open["["]:
            self._multiply("[", 1 / _FACTOR)
        else:
            self.texts.append(piece[1:] if piece.startswith("\\") else piece)
            self.weights.append(1.0)

    def close_all(self) -> None:
        """What is still open reaches to the end."""
        for bracket, factor in (("(", _FACTOR), ("[", 1 / _FACTOR)):
            while self._open[bracket]:
                self._multiply(bracket, factor)

    def _multiply(self, bracket: str, factor: float) -> None:
        for number in range(self._open[bracket].pop(), len(self.weights)):
            self.weights[number] *= factor


def _merged(texts: list[str], weights: list[float]) -> list[Weighted]:
    merged: list[Weighted] = []
    for text, weight in zip(texts, weights, strict=True):
        if not text:
            continue
        if merged and merged[-1].weight == weight:
            merged[-1] = Weighted(merged[-1].text + text, weight)
        else:
            merged.append(Weighted(text, weight))
    return merged
