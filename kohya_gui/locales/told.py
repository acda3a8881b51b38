"""What trainers tell, in the language of the page: found by its English words, filled in anew.

The trainers speak English, to command lines, logs and events, and know no language. What a beginner
meets most often stands as templates in `problems/en.toml`; a text that one of them fits is told by
the template of the same key in another language, with the same values. All else stays English.
"""

from __future__ import annotations

import re
import string
from functools import cache, lru_cache
from typing import Final

from kohya_gui.locales import ENGLISH, load_texts

PREFIX: Final = "problem."
_MAX_LENGTH: Final = 2000
"""Longer texts are somebody's traceback, not a sentence."""
_NEXT_SENTENCE: Final = re.compile(r"[.!?] (?=[A-Z])")


@cache
def _templates() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return the pattern of each key; those with more fixed words come first."""
    english = load_texts(ENGLISH)
    known = english.keys()
    keys = [key for key in sorted(known) if key.startswith(PREFIX)]
    keys.sort(key=lambda key: -len(_fixed(english(key))))
    return tuple((key, _pattern(english(key))) for key in keys)


def _fixed(template: str) -> str:
    return "".join(part for part, *_ in string.Formatter().parse(template))


def _pattern(template: str) -> re.Pattern[str]:
    """Return what fits a template: its first letter may be a capital, a field called `word` is one
    word, one called `path_named` holds a slash, and a field behind a sentence may be missing (there
    was no name to tell)."""
    pieces: list[str] = []
    for fixed, field, *_ in string.Formatter().parse(template):
        words = re.escape(fixed)
        if not pieces and fixed[:1].isalpha():
            words = f"[{fixed[0].lower()}{fixed[0].upper()}]{re.escape(fixed[1:])}"
        pieces.append(words)
        if field:
            pieces.append(f"(?P<{field}>{_what_fits(field)})")
    pattern = "".join(pieces)
    pattern = re.sub(r"(?<=\\\.)(\\ \(\?P<\w+>\.\+\?\))$", r"(?:\1)?", pattern)
    return re.compile(pattern, re.DOTALL)


def _what_fits(field: str) -> str:
    if field.startswith("word"):
        return "[^ ]+"
    return r"\S*[/\\].*?" if field == "path_named" else ".+?"


@lru_cache(maxsize=4096)
def told_in(language: str, english: str) -> str:
    """Return a text of a trainer in a language; of several sentences each that is known."""
    if language == ENGLISH or len(english) > _MAX_LENGTH:
        return english
    whole = _filled(language, english)
    if whole is not None:
        return whole
    for found in re.finditer(r"(?<=[.!?]) ", english):
        first = _filled(language, english[: found.start()])
        if first is not None:
            return f"{first} {told_in(language, english[found.end() :])}"
    return english


def _filled(language: str, english: str) -> str | None:
    for key, pattern in _templates():
        if found := pattern.fullmatch(english):
            values = {name: value or "" for name, value in found.groupdict().items()}
            if any(_NEXT_SENTENCE.search(value) for value in values.values()):
                continue  # it is more than this template says
            words = load_texts(language)(key, **values).strip()
            return words[:1].upper() + words[1:] if english[:1].isupper() else words
    return None
