"""Which translations were made of an English text that has changed since.

`seen_english.toml` beside this file holds a short hash of the English that each translation was
made of, by key; languages that are behind have a table of their own. The gate compares. After
translations were looked at (and changed if need be), `python -m tools.gate.stale_texts --seen KEY`
notes the English of now; `--new` notes translations that were added.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kohya_gui.forms import option_words, preset_words
from kohya_gui.locales import ENGLISH, available_languages, own_texts
from sd_scripts.files import write_atomic

FILE: Final = Path(__file__).resolve().parent / "seen_english.toml"
_HEAD: Final = (
    "# The English that translations were made of, as hashes: see tools/gate/stale_texts.py.\n\n"
)
_LENGTH: Final = 8
_ALL: Final = "all"
Notes = dict[str, dict[str, str]]
"""By language and key, the hash of the English that the translation was made of."""


def english_texts() -> dict[str, str]:
    """Return every English text that is translated, by its key, wherever it stands."""
    told = own_texts(ENGLISH)
    return {**told, **option_words.english_words(), **preset_words.english_words()}


def mark(english: str) -> str:
    """Return the hash of a text; where its lines are broken does not count."""
    return hashlib.sha256(" ".join(english.split()).encode()).hexdigest()[:_LENGTH]


def translations() -> dict[str, frozenset[str]]:
    """Return the keys that each language has a text of its own for."""
    others = (code for code in available_languages() if code != ENGLISH)
    return {code: frozenset(own_texts(code)) for code in others}


def read_notes(languages: Iterable[str], file: Path = FILE) -> Notes:
    """Return what was noted of each language."""
    data: dict[str, Any] = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    return {code: {**data.get(_ALL, {}), **data.get(code, {})} for code in languages}


def write_notes(notes: Notes, file: Path = FILE) -> None:
    """Write notes: once for all languages where they agree."""
    keys = sorted({key for own in notes.values() for key in own})
    tables: dict[str, dict[str, str]] = {_ALL: {}, **{code: {} for code in notes}}
    for key in keys:
        said = {own.get(key, "") for own in notes.values()}
        if len(said) == 1:
            tables[_ALL][key] = said.pop()
        else:
            for code, own in notes.items():
                tables[code][key] = own.get(key, "")
    lines = [_HEAD]
    for name, table in tables.items():
        if table:
            lines += [f"[{name}]\n", *(f'"{key}" = "{value}"\n' for key, value in table.items())]
    write_atomic(file, "".join(lines))


def unlike(
    english: Mapping[str, str], keys: frozenset[str], own: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return the keys of translations whose English has changed, and of those not noted yet."""
    there = sorted(key for key in keys if key in english)
    new = [key for key in there if not own.get(key)]
    return [key for key in there if own.get(key) and own[key] != mark(english[key])], new


def look(
    english: Mapping[str, str], texts: Mapping[str, frozenset[str]], notes: Notes
) -> list[str]:
    """Return what there is to do, a line each."""
    told = []
    for code, keys in texts.items():
        changed, new = unlike(english, keys, notes[code])
        for key in changed:
            told.append(f"{code}: {key} was made of other English; now: {json.dumps(english[key])}")
        if new:
            told.append(f"{code}: {len(new)} new translations are not noted, such as {new[0]}")
    return told


def main(argv: Sequence[str] | None = None) -> int:
    """Tell what is stale (1 if anything is), or note what was looked at."""
    parser = argparse.ArgumentParser(prog="python -m tools.gate.stale_texts", description=__doc__)
    parser.add_argument("--language", action="append", help="only this one; may be repeated")
    parser.add_argument("--seen", nargs="+", default=(), metavar="KEY", help="looked at: these")
    parser.add_argument("--new", action="store_true", help="note what was added")
    options = parser.parse_args(argv)
    english, texts = english_texts(), translations()
    if unknown := [key for key in options.seen if key not in english]:
        parser.error(f"there is no text {', '.join(unknown)}")
    notes = read_notes(texts)
    for code in options.language or texts if options.seen or options.new else ():
        _, new = unlike(english, texts[code], notes[code])
        wanted = [
            *(key for key in options.seen if key in texts[code]),
            *(new if options.new else ()),
        ]
        kept = {key: hashed for key, hashed in notes[code].items() if key in texts[code]}
        notes[code] = kept | {key: mark(english[key]) for key in wanted}
    if options.seen or options.new:
        write_notes(notes)
    told = look(english, texts, notes)
    for line in told:
        print(line)
    if told:
        print("Look at these translations, then: python -m tools.gate.stale_texts --seen KEY …")
        print("Translations that were just made: python -m tools.gate.stale_texts --new")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
