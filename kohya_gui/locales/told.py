"""What trainers tell, in the language of the page: found by its English words, filled in anew.

The trainers speak English, to command lines, logs and events, and know no language. What they tell
stands as templates in `problems/en.toml`; a text that one of them fits is told by the template of
the same key in another language, with the same values. All else stays English.

The name of a field says what fits it: `word…` is one word, `digits…` one with a digit, `file…` has
no semicolon, and no colon before a blank, `path_named` holds a slash, `said…` is a text that other
templates fit, and `told…`, `why…`, `reason…` and `where…` are told by them as far as they do. Other
values stay.
"""

from __future__ import annotations

import re
import string
from functools import cache, lru_cache
from typing import Final, NamedTuple

from kohya_gui.locales import ENGLISH, load_texts

PREFIX: Final = "problem."
_TOLD: Final = ("said", "told", "why", "reason", "where")
_MAX_LENGTH: Final = 2000
_MAX_PARTS: Final = 40
"""Longer texts, or of more parts, are somebody's traceback; parts are told within each other."""
_PART: Final = re.compile(r"[.!?:] ")
_NEXT_SENTENCE: Final = re.compile(r"[.!?] (?=[A-Z])")


class _Template(NamedTuple):
    key: str
    mark: str
    """Words that every text which fits has: looked for first, since that is fast."""
    pattern: str
    last: str
    """The field at its end, which may hold several sentences if it is told; else ""."""


@cache
def _templates() -> tuple[_Template, ...]:
    """Return what there is to fit; templates with more fixed words come first."""
    english = load_texts(ENGLISH)
    keys = [key for key in sorted(english.keys()) if key.startswith(PREFIX)]
    keys.sort(key=lambda key: -sum(map(len, _fixed(english(key)))))
    texts = [(key, english(key)) for key in keys]
    return tuple(_Template(key, _mark(text), _pattern(text), _last(text)) for key, text in texts)


def _fixed(template: str) -> list[str]:
    return [part for part, *_ in string.Formatter().parse(template)]


def _last(template: str) -> str:
    fields = [field for _, field, *_ in string.Formatter().parse(template)]
    return (fields[-1] or "") if fields else ""


def _mark(template: str) -> str:
    """Return the longest fixed part; the first letter may be a capital and so does not count."""
    parts = _fixed(template)
    return max((part.strip() for part in (parts[0][1:], *parts[1:])), key=len)


def _pattern(template: str) -> str:
    """Return what fits a template: its first letter may be a capital, and a field behind a sentence
    may be missing (there was no name to tell)."""
    pieces: list[str] = []
    for fixed, field, *_ in string.Formatter().parse(template):
        words = re.escape(fixed)
        if not pieces and fixed[:1].isalpha():
            words = f"[{fixed[0].lower()}{fixed[0].upper()}]{re.escape(fixed[1:])}"
        pieces.append(words)
        if field:
            pieces.append(f"(?P<{field}>{_what_fits(field)})")
    pattern = "".join(pieces)
    return re.sub(r"(?<=\\\.)(\\ \(\?P<\w+>\.\+\?\))$", r"(?:\1)?", pattern)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern that is needed: compiling all takes a fifth of a second."""
    return re.compile(pattern, re.DOTALL)


def _what_fits(field: str) -> str:
    if field.startswith("word"):
        return "[^ ]+"
    if field.startswith("digits"):
        return r"\S*\d\S*"
    if field.startswith("file"):
        return "(?:[^;:]|:(?! ))+?"
    return r"\S*[/\\].*?" if field == "path_named" else ".+?"


@lru_cache(maxsize=4096)
def told_in(language: str, english: str) -> str:
    """Return a text of a trainer in a language; of several sentences each that is known."""
    if language == ENGLISH or len(english) > _MAX_LENGTH:
        return english
    if len(_PART.findall(english)) > _MAX_PARTS:
        return english
    whole = _filled(language, english)
    if whole is not None:
        return whole
    for found in re.finditer(r"(?<=[.!?]) ", english):
        first = _filled(language, english[: found.start()])
        if first is not None:
            gap = "" if first.endswith("。") else " "
            return f"{first}{gap}{told_in(language, english[found.end() :])}"
    return english


def _filled(language: str, english: str) -> str | None:
    for key, mark, pattern, last in _templates():
        if mark not in english or (found := _compiled(pattern).fullmatch(english)) is None:
            continue
        values = _values(language, found.groupdict(), last)
        if values is None:
            continue  # it is more than this template says
        texts = load_texts(language)
        words = texts(key, **values).strip()
        if not english[:1].isupper() or _begins_with_value(texts(key)):
            return words
        return words[:1].upper() + words[1:]
    return None


def _begins_with_value(template: str) -> bool:
    """Tell whether a template's first word is a name or a number, which keeps its letters."""
    return template.startswith("{") and not template[1:].startswith(_TOLD)


def _values(language: str, found: dict[str, str | None], last: str) -> dict[str, str] | None:
    """Return the values of a template's fields in a language; None if they do not fit."""
    values: dict[str, str] = {}
    for name, english in found.items():
        values[name] = english or ""
        is_told = name.startswith(_TOLD)
        if _NEXT_SENTENCE.search(values[name]) and not (is_told and name == last):
            return None
        if is_told:
            told = told_in(language, values[name])
            if told == values[name] and name.startswith("said"):
                return None
            values[name] = told
    return values
