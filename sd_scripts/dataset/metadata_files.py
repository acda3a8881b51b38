"""Reading a metadata file of sd-scripts: which pictures there are, with captions and tags.

Layouts: JSON {picture: {"caption", "tags", "image_size"}}, or JSONL with an "image_path" in each
line. Other keys ("train_resolution" of older tools, say) are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sd_scripts.dataset.buckets import Size
from sd_scripts.dataset.captions import CaptionRules
from sd_scripts.dataset.pictures import reachable, shown

_LAYOUT = 'it holds {"picture.png": {"caption": "…", "tags": "…"}, …}'


class MetadataProblem(Exception):
    """A metadata file that can't be used: why, and what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class MetadataEntry:
    """One picture as the file names it. `image_size` is (width, height), where it is told."""

    key: str
    caption: str = ""
    tags: str = ""
    image_size: Size | None = None


def read_metadata(path: Path) -> tuple[list[MetadataEntry], list[str]]:
    """The entries in the file's order, and what is wrong with others, in words.

    Raises `MetadataProblem` where the file as a whole can't be read.
    """
    return read_metadata_text(path, _text(path))


def read_metadata_text(path: Path, text: str) -> tuple[list[MetadataEntry], list[str]]:
    """As `read_metadata`, of a text that was read already; `path` tells the layout."""
    entries, wrong = [], []
    for where, key, value in _raw(path, text):
        try:
            entries.append(_entry(key, value))
        except ValueError as error:
            wrong.append(f"{where}: {error}")
    return entries, wrong


def joined_caption(entry: MetadataEntry, rules: CaptionRules) -> str:
    """The caption text of an entry: caption, separator and tags, with no blank between.

    With wildcards, the tags follow each line of the caption, since one line is chosen later;
    otherwise they follow its first line, the only one that is used.
    """
    separator = rules.caption_separator
    tags = separator.join(_lines(entry.tags))
    lines = _lines(entry.caption)
    if not rules.enable_wildcard:
        lines = lines[:1]
    if not tags:
        return "\n".join(lines)
    return "\n".join(f"{line}{separator}{tags}" for line in lines) or tags


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _text(path: Path) -> str:
    try:
        with open(reachable(path), "rb") as file:
            return file.read().decode("utf-8-sig")
    except OSError as error:
        raise MetadataProblem(
            f"the metadata file {shown(path)} can't be read ({error.strerror or error})",
            "check the path",
        ) from error
    except UnicodeDecodeError as error:
        raise MetadataProblem(
            f"the metadata file {shown(path)} is not UTF-8 text", "save it with encoding UTF-8"
        ) from error


def _raw(path: Path, text: str) -> Iterator[tuple[str, object, object]]:
    """(where it stands, the picture, what is told of it) of every entry."""
    if path.suffix.lower() == ".jsonl":
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                value = _json(path, line, f", line {number}")
                key = value.get("image_path") if isinstance(value, dict) else None
                yield f"line {number}", key, value
        return
    tree = _json(path, text, "")
    if not isinstance(tree, dict):
        raise MetadataProblem(f"{shown(path)} is a list, not a table", _LAYOUT)
    for key, value in tree.items():
        yield shown(key), key, value


def _json(path: Path, text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "a number or a name is too long, or brackets lie too deep in brackets"
        if isinstance(error, json.JSONDecodeError):
            why = str(error)
        raise MetadataProblem(
            f"{shown(path)}{where} is not valid JSON: {why}", "mend that place"
        ) from error


def _entry(key: object, value: object) -> MetadataEntry:
    if not isinstance(value, dict):
        raise ValueError("its caption and tags must stand in braces { }")
    if not isinstance(key, str) or not key:
        raise ValueError("it names no picture (image_path)")
    texts = {name: value.get(name) or "" for name in ("caption", "tags")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"its {name} must be text in quotes")
    return MetadataEntry(key, texts["caption"], texts["tags"], _size(value.get("image_size")))


def _size(value: object) -> Size | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2:
        width, height = value
        if isinstance(width, int) and isinstance(height, int):
            return width, height
    raise ValueError("its image_size must be [width, height]")
