"""Translations whose English has changed are noticed; what was looked at is noted by key."""

from __future__ import annotations

from pathlib import Path

from tools.gate import stale_texts
from tools.gate.stale_texts import look, mark, read_notes, write_notes

ENGLISH = {"a": "One text", "b": "Another", "c": "Of today"}
TEXTS = {"de": frozenset("abc"), "fr": frozenset("ab")}


def noted() -> stale_texts.Notes:
    return {code: {key: mark(ENGLISH[key]) for key in keys} for code, keys in TEXTS.items()}


def test_nothing_is_told_while_english_stays() -> None:
    assert look(ENGLISH, TEXTS, noted()) == []
    assert look({**ENGLISH, "a": "One\n  text"}, TEXTS, noted()) == []


def test_english_that_changed_is_told_for_each_language_that_has_it() -> None:
    told = look({**ENGLISH, "c": "Of tomorrow"}, TEXTS, noted())
    assert len(told) == 1
    assert told[0].startswith("de: c ")
    assert "Of tomorrow" in told[0]


def test_a_translation_that_is_new_wants_a_note() -> None:
    told = look(ENGLISH, {**TEXTS, "fr": frozenset("abc")}, noted())
    assert told == ["fr: 1 new translations are not noted, such as c"]


def test_notes_come_back_also_where_languages_differ(tmp_path: Path) -> None:
    file = tmp_path / "seen.toml"
    notes = noted()
    notes["fr"]["a"] = mark("Of long ago")
    write_notes(notes, file)
    again = read_notes(TEXTS, file)
    assert again["de"] == notes["de"]
    assert {key: value for key, value in again["fr"].items() if value} == notes["fr"]
    assert read_notes(TEXTS, tmp_path / "none.toml") == {"de": {}, "fr": {}}
