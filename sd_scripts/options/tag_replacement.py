r"""Pairs of tags as `tag_replacement` writes them, `old,new;old,new`; a backslash escapes."""

from __future__ import annotations

import re

from sd_scripts.options.explain import shown
from sd_scripts.options.types import UnfitError

_SEMICOLONS = re.compile(r"(?<!\\);")
_COMMAS = re.compile(r"(?<!\\),")
_HINT = r"write old,new;old,new and a backslash before a comma or semicolon inside a tag"


def _plain(text: str) -> str:
    return text.replace("\\,", ",").replace("\\;", ";").strip()


def read_replacements(text: str) -> dict[str, str]:
    """Read the pairs as old tag → new tag; a new tag that is empty takes the old one away.

    Raises `UnfitError` for what is no pair, and for a tag that is replaced twice.
    """
    pairs: dict[str, str] = {}
    for part in _SEMICOLONS.split(text):
        if not part.strip():
            continue
        tags = [_plain(tag) for tag in _COMMAS.split(part)]
        if len(tags) != 2 or not tags[0]:
            raise UnfitError(f"{shown(part.strip())} is not a pair of tags", _HINT)
        old, new = tags
        if pairs.get(old, new) != new:
            raise UnfitError(f"the tag {shown(old)} is replaced twice", "keep one of the two")
        pairs[old] = new
    return pairs


def check_replacements(text: str) -> str:
    """Return the text if its pairs can be read."""
    read_replacements(text)
    return text
