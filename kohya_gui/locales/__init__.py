"""The words of the page, by key: a TOML file per language, and one each for options,
presets and what trainers tell."""

from __future__ import annotations

import json
import string
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Final

from sd_scripts.errors import UserError

ENGLISH: Final = "en"
BROWSER_PREFIX: Final = "js."
"""Keys below this prefix are sent to the page for its scripts."""


class Texts:
    """Look up a text and fill in its `{fields}`; an unknown key or field is a `KeyError`."""

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        self.language = language
        self._texts = dict(texts)

    def __call__(self, key: str, **values: object) -> str:
        text = self._texts[key]
        return string.Formatter().vformat(text, (), values) if values else text

    def optional(self, key: str, otherwise: str) -> str:
        """Return the text of `key`, or `otherwise`: options carry their English themselves."""
        return self._texts.get(key, otherwise)

    def keys(self) -> frozenset[str]:
        """Return every key there is."""
        return frozenset(self._texts)

    def for_browser(self) -> str:
        """Return the texts for the page's scripts as JSON that may stand in the page's own script,
        keys without their prefix."""
        told = json.dumps(
            {
                key.removeprefix(BROWSER_PREFIX): text
                for key, text in sorted(self._texts.items())
                if key.startswith(BROWSER_PREFIX)
            },
            ensure_ascii=False,
        )
        return told.replace("<", "\\u003c")


@cache
def available_languages() -> tuple[str, ...]:
    """Return the codes of the languages that there are texts for, English first."""
    folder = resources.files(__package__)
    codes = sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )
    return (ENGLISH, *(code for code in codes if code != ENGLISH))


def language_names() -> dict[str, str]:
    """Return the languages by code, each under the name it has for itself."""
    return {code: load_texts(code)("app.language") for code in available_languages()}


@cache
def own_texts(language: str) -> dict[str, str]:
    """Return the texts that stand in a language's own files. Not to be changed by the caller."""
    folder = resources.files(__package__)
    text = folder.joinpath(f"{language}.toml").read_text("utf-8")
    texts = dict(_flatten(tomllib.loads(text), ""))
    for kind in ("options", "presets", "problems"):  # options and presets carry their English
        more = folder.joinpath(kind, f"{language}.toml")
        if more.is_file():
            texts.update(_flatten(tomllib.loads(more.read_text("utf-8")), ""))
    return texts


def _flatten(table: Mapping[str, object], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            found.extend(_flatten(value, f"{prefix}{key}."))
        else:
            found.append((f"{prefix}{key}", str(value)))
    return found


@cache
def load_texts(language: str | None = None) -> Texts:
    """Return the texts of `language` ("de", also written "de-DE"), completed by the English ones.

    Raises `UserError` for a language there is nothing for.
    """
    known = available_languages()
    code = (language or ENGLISH).replace("_", "-").lower()
    chosen = next((c for c in (code, code.split("-")[0]) if c in known), None)
    if chosen is None:
        raise UserError(
            f"There are no texts in the language “{language}”.",
            option="language",
            hint=f"Choose one of: {', '.join(known)}.",
        )
    return Texts(chosen, {**own_texts(ENGLISH), **own_texts(chosen)})
