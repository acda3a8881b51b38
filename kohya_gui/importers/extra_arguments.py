"""Reads the command line that people type into the "additional parameters" of kohya_ss."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from kohya_gui.importers.settling import NETWORK_ARGS, Entry
from sd_scripts.options.key_values import split_pair
from sd_scripts.options.schema import OptionSpec
from sd_scripts.options.types import UnfitError, clean_pairs

KEY: Final = "additional_parameters"


def split_words(text: str) -> list[str]:
    """Words of a command line: quotes hold words together, a backslash is a backslash."""
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    lexer.escape = ""
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:  # a quote that is not closed
        return text.split()


def read_extra(text: str, specs: Mapping[str, OptionSpec]) -> tuple[list[Entry], list[str]]:
    """The options of a command line, and the words that belong to none."""
    entries: list[Entry] = []
    strays: list[str] = []
    words = split_words(text)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            strays.append(word)
            continue
        name, equals, given = word[2:].partition("=")
        values = [given] if equals else []
        while not equals and words and not words[0].startswith("--"):
            values.append(words.pop(0))
        entries += _entries(name, values, specs.get(name))
    return entries, strays


def _entries(name: str, values: list[str], spec: OptionSpec | None) -> list[Entry]:
    if name == NETWORK_ARGS:
        try:
            pairs = clean_pairs(values)
        except UnfitError:
            return [_entry(name, values)]
        items = map(split_pair, pairs)
        return [Entry(KEY, item, text, argument=True, zero_counts=True) for item, text in items]
    if not values:
        return [_entry(name, True)]
    return [_entry(name, values if spec is not None and spec.is_list else " ".join(values))]


def _entry(name: str, value: object) -> Entry:
    return Entry(KEY, name, value, zero_counts=True)
