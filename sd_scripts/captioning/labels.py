"""The lists of tags that come with taggers: `selected_tags.csv` or `tag_mapping.json`."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from sd_scripts.dataset.pictures import shown
from sd_scripts.errors import UserError

Category = Literal[
    "rating", "general", "character", "copyright", "artist", "meta", "model", "quality"
]
ListKind = Literal["csv", "mapping"]

CSV_NAME: Final = "selected_tags.csv"
MAPPING_NAME: Final = "tag_mapping.json"
MODEL_NAMES: Final = ("model.onnx", "model_optimized.onnx")

_CSV_CATEGORIES: Final[dict[str, Category]] = {
    "0": "general",
    "1": "artist",
    "3": "copyright",
    "4": "character",
    "5": "meta",
    "9": "rating",
}
"""Danbooru's numbers, and 9 for ratings (https://danbooru.donmai.us/wiki_pages/api:tags)."""


@dataclass(frozen=True, slots=True)
class Label:
    """What one output of a tagger stands for. A name of None is an output without a meaning."""

    name: str | None
    category: Category


@dataclass(frozen=True)
class TagList:
    """The labels of all outputs, in order, and which kind of file told them."""

    kind: ListKind
    labels: tuple[Label, ...]

    def has(self, category: Category) -> bool:
        """Whether the tagger knows tags of a category."""
        return any(label.category == category for label in self.labels)


@dataclass(frozen=True)
class TaggerFiles:
    """The two files of a tagger."""

    model: Path
    tag_list: Path


def find_tagger(folder: Path) -> TaggerFiles | None:
    """Return the files of the tagger in a folder; None if one of the two is missing."""
    models = [folder / name for name in MODEL_NAMES if (folder / name).is_file()]
    if not models and folder.is_dir():
        others = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".onnx")
        models = others if len(others) == 1 else []
    lists = [folder / name for name in (CSV_NAME, MAPPING_NAME) if (folder / name).is_file()]
    return TaggerFiles(models[0], lists[0]) if models and lists else None


def read_tags(path: Path) -> TagList:
    """Read a list of tags. Raises `UserError` when it is not in order."""
    try:
        if path.suffix.lower() == ".csv":
            return TagList("csv", _read_csv(path))
        return TagList("mapping", _read_mapping(path))
    except OSError as error:
        raise _unfit(path, error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise _unfit(path, str(error)) from error


def _unfit(path: Path, why: str) -> UserError:
    return UserError(
        f"{shown(path)} is not a tagger's list of tags: {why}",
        option="model_dir",
        hint="Copy or download the tagger again.",
    )


def _read_csv(path: Path) -> tuple[Label, ...]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    header = rows[0] if rows else []
    if not {"name", "category"} <= set(header):
        raise ValueError("its first line does not name the columns name and category")
    name, category = header.index("name"), header.index("category")
    labels = []
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) <= max(name, category) or row[category] not in _CSV_CATEGORIES:
            raise ValueError(f"line {number} names no known category")
        labels.append(Label(row[name], _CSV_CATEGORIES[row[category]]))
    return _some(labels)


def _read_mapping(path: Path) -> tuple[Label, ...]:
    found: dict[int, Label] = {}
    for key, entry in json.loads(path.read_text(encoding="utf-8-sig")).items():
        category = str(entry["category"]).lower()
        if category not in get_args(Category):
            raise ValueError(f"{entry['category']!r} is no known category")
        found[int(key)] = Label(str(entry["tag"]), cast(Category, category))
    last = max(found, default=-1)
    return _some([found.get(place, Label(None, "general")) for place in range(last + 1)])


def _some(labels: Sequence[Label]) -> tuple[Label, ...]:
    if not labels:
        raise ValueError("it holds no tags")
    return tuple(labels)
