"""Lists of name=value texts (`optimizer_args`, `network_args`) as Python values, and back."""

from __future__ import annotations

import ast
from collections.abc import Iterable


def split_pair(pair: str) -> tuple[str, str]:
    """Name and text of a "name=value"."""
    name, _, text = pair.partition("=")
    return name, text


def parse_value(text: str) -> object:
    """The Python literal that a text stands for, or the text itself if it is none."""
    lowered = {"true": True, "false": False, "none": None, "inf": float("inf")}
    if text.lower() in lowered:
        return lowered[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


def parse_pairs(pairs: Iterable[str]) -> dict[str, object]:
    """Values of a list of "name=value", by name."""
    return {name: parse_value(text) for name, text in map(split_pair, pairs)}
