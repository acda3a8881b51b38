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
from functools import cache, cached_property, lru_cache
from typing import Final

from kohya_gui.locales import ENGLISH, load_texts

PREFIX: Final = "problem."
_TOLD: Final = ("said", "told", "why", "reason", "where")
_MAX_LENGTH: Final = 2000
_MAX_PARTS: Final = 40
"""Longer texts, or of more parts, are somebody's traceback; parts are told within each other."""
_PART: Final = re.compile(r"[.!?:] ")
_NEXT_SENTENCE: Final = re.compile(r"[.!?] (?=[A-Z“])")


class Template:
    """A text that programs say, with fields for what varies."""

    def __init__(self, key: str, text: str) -> None:
        self.key = key
        self.begins_small = text[:1].islower()
        self._parts = [(fixed, field) for fixed, field, *_ in string.Formatter().parse(text)]
        fixed = [part for part, _ in self._parts]
        self.num_fixed = sum(map(len, fixed))
        self.mark = max((part.strip() for part in (fixed[0][1:], *fixed[1:])), key=len)
        """Words that all that fits has; the first letter may be a capital and so does not count."""
        self.several = self._may_be_several()
        """The field that may hold several sentences: the last one, if it is told; else ""."""

    def _may_be_several(self) -> str:
        fields = [field for _, field in self._parts if field]
        if not fields or not self._parts[-1][1] or not fields[-1].startswith(_TOLD):
            return ""
        if fields[-1].startswith("said") and not all(one.startswith(_TOLD) for one in fields):
            return ""
        return fields[-1]

    def fits(self, english: str) -> dict[str, str | None] | None:
        """Return the values of the fields in a text; None if it says something else."""
        if self.mark not in english:  # fast, and seldom so
            return None
        found = self._pattern.fullmatch(english)
        return found.groupdict() if found is not None else None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """What fits: the first letter may be a capital, and a field behind a sentence may be
        missing (there was no name to tell). Made when needed: all take a fifth of a second."""
        pieces: list[str] = []
        for fixed, field in self._parts:
            words = re.escape(fixed)
            if not pieces and fixed[:1].isalpha():
                words = f"[{fixed[0].lower()}{fixed[0].upper()}]{re.escape(fixed[1:])}"
            pieces.append(words)
            if field:
                pieces.append(f"(?P<{field}>{_what_fits(field)})")
        pattern = re.sub(r"(?<=\\\.)(\\ \(\?P<\w+>\.\+\?\))$", r"(?:\1)?", "".join(pieces))
        return re.compile(pattern, re.DOTALL)


@cache
def templates() -> tuple[Template, ...]:
    """Return what there is to fit; templates with more fixed words come first."""
    english = load_texts(ENGLISH)
    keys = [key for key in sorted(english.keys()) if key.startswith(PREFIX)]
    found = [Template(key, english(key)) for key in keys]
    return tuple(sorted(found, key=lambda one: -one.num_fixed))


def _what_fits(field: str) -> str:
    if field.startswith("word"):
        return r"[^ ]*[^ .]"
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
    for template in templates():
        if (found := template.fits(english)) is None:
            continue
        values = _values(language, found, template.several)
        if values is None:
            continue  # it is more than this template says
        texts = load_texts(language)
        words = texts(template.key, **values).strip()
        begins = english[:1].isupper() and template.begins_small
        if begins and _may_begin(texts(template.key)):
            return words[:1].upper() + words[1:]
        return words
    return None


def _may_begin(template: str) -> bool:
    """Tell whether a template's first letter may become a capital: those of names may not."""
    first = template.partition(" ")[0]
    is_value = template.startswith("{") and not template[1:].startswith(_TOLD)
    return not is_value and "_" not in first


def _values(language: str, found: dict[str, str | None], several: str) -> dict[str, str] | None:
    """Return the values of a template's fields in a language; None if they do not fit.

    Only the field `several` may hold more than one sentence.
    """
    values: dict[str, str] = {}
    for name, english in found.items():
        values[name] = english or ""
        is_told = name.startswith(_TOLD)
        if name != several and _NEXT_SENTENCE.search(values[name]):
            return None
        if is_told:
            told = told_in(language, values[name])
            if told == values[name] and name.startswith("said"):
                return None
            values[name] = told
    return values
