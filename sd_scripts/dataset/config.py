"""Reading a dataset file (TOML or JSON), with every mistake in it told at once."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sd_scripts.dataset.config_keys import Place, check_table
from sd_scripts.dataset.pictures import reachable, shown
from sd_scripts.dataset.settings import DatasetSettings, SubsetSettings, Values
from sd_scripts.errors import Problem
from sd_scripts.files import parse_toml

_OPTION = "dataset_config"
_EXAMPLE = "see the example: [[datasets]] with [[datasets.subsets]] and image_dir = '/pictures'"


@dataclass
class Reading:
    """A dataset file while it is read: what it gives, and what is wrong with it."""

    file: Path
    family: str | None
    datasets: list[DatasetSettings] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def complain(self, message: str, hint: str | None = None, *, warn: bool = False) -> None:
        """Add a problem of this file."""
        problem = Problem(message, _OPTION, hint, "warning" if warn else "error")
        self.problems.append(problem)


def read_dataset_config(file: Path, values: Values, family: str | None) -> Reading:
    """The datasets that `file` describes; `values` are the options, which it falls back to.

    Relative image_dir and metadata_file are looked for in the working folder, then beside the
    file. Without image_dir, the pictures of a metadata_file lie beside that one.
    """
    reading = Reading(file, family)
    tree = _parse(reading)
    if tree is None:
        return reading
    general = _table(reading, tree, "general")
    datasets = _tables(reading, tree, "datasets", "the file")
    for key in tree:
        if key not in ("general", "datasets"):
            reading.complain(
                f"{shown(file)}: {key} can't stand at the top of a dataset file",
                "keys stand in [general], [[datasets]] or [[datasets.subsets]]; the options of a"
                " job have a file of their own (config_file)",
            )
    place = Place("[general]", f"{file.name}, [general]")
    found, problems = check_table(general, place)
    reading.problems += problems
    values = _inherit(values, found)
    for number, table in enumerate(datasets, 1):
        _read_dataset(reading, number, table, values)
    return reading


def _parse(reading: Reading) -> dict[str, Any] | None:
    file = reading.file
    is_json = file.suffix.lower() == ".json"
    try:
        with open(reachable(file), "rb") as opened:
            text = opened.read().decode("utf-8-sig")
        tree = json.loads(text) if is_json else parse_toml(text)
    except OSError as error:
        reason = error.strerror or error
        reading.complain(f"{shown(file)} can't be read ({reason})", "check the path")
    except UnicodeDecodeError:
        reading.complain(f"{shown(file)} is not UTF-8 text", "save it with encoding UTF-8")
    except tomllib.TOMLDecodeError as error:
        hint = "put text in quotes; write paths with / or in 'single quotes'"
        reading.complain(f"{shown(file)} is not valid TOML: {error}", hint)
    except json.JSONDecodeError as error:
        reading.complain(f"{shown(file)} is not valid JSON: {error}", "mend that place")
    except (ValueError, RecursionError):
        reason = "a number or a name is too long, or brackets lie too deep in brackets"
        kind = "JSON" if is_json else "TOML"
        reading.complain(f"{shown(file)} is not valid {kind}: {reason}", "mend that place")
    else:
        if isinstance(tree, dict):
            return tree
        reading.complain(f"{shown(file)} is a list, not a table", 'begin with {"datasets": [')
    return None


def _inherit(values: Values, found: Mapping[str, Any]) -> Values:
    return replace(values, **found)


def _table(reading: Reading, parent: Mapping[str, Any], key: str) -> dict[str, object]:
    value = parent.get(key)
    if value is None or isinstance(value, dict):
        return value or {}
    reading.complain(f"{shown(reading.file)}: {key} must be a table", f"write [{key}]")
    return {}


def _tables(
    reading: Reading, parent: Mapping[str, Any], key: str, where: str
) -> list[dict[str, Any]]:
    value = parent.get(key)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return value
    name = reading.file.name
    if not value:
        reading.complain(f"{name}: {where} has no {key}", _EXAMPLE)
    else:
        reading.complain(f"{name}: {key} must be a list of tables", _EXAMPLE)
    return []


def _read_dataset(reading: Reading, number: int, table: Mapping[str, Any], values: Values) -> None:
    words = f"{reading.file.name}, dataset {number}"
    found, problems = check_table(table, Place("[[datasets]]", words), but=("subsets",))
    reading.problems += problems
    values = _inherit(values, found)
    subsets: list[SubsetSettings] = []
    tables = _tables(reading, table, "subsets", f"dataset {number}")
    for position, subset in enumerate(tables, 1):
        where = f"subset {position} of dataset {number}"
        settings = _read_subset(reading, where, subset, values)
        if settings is None:
            continue
        if any(_source(settings) == _source(other) for other in subsets):
            folder = shown(settings.metadata_file or settings.image_dir)
            hint = "it counts once in a dataset; change num_repeats to show it more often"
            reading.complain(f"{where} is not used: {folder} is there already", hint, warn=True)
            continue
        subsets.append(settings)
    reading.datasets.append(values.dataset(subsets, reading.family))


def _source(settings: SubsetSettings) -> Path:
    """What a subset is read from: two of the same are one."""
    return (settings.metadata_file or settings.image_dir).resolve()


def _read_subset(
    reading: Reading, where: str, table: Mapping[str, Any], values: Values
) -> SubsetSettings | None:
    words = f"{reading.file.name}, {where}"
    found, problems = check_table(table, Place("[[datasets.subsets]]", words))
    reading.problems += problems
    image_dir, is_reg = found.pop("image_dir", None), found.pop("is_reg", False)
    metadata, masks = found.pop("metadata_file", None), found.pop("conditioning_data_dir", None)
    values = _inherit(values, found)
    if image_dir is None and not metadata:
        if "image_dir" not in table:
            reading.complain(f"{words} has no image_dir", "say which folder its pictures are in")
        return None
    if values.num_repeats < 1:
        hint = "set num_repeats to 1 or more to use it"
        told = f"{where} is not used, since its num_repeats is {values.num_repeats}"
        reading.complain(told, hint, warn=True)
        return None
    file = _find(reading.file, Path(str(metadata)).expanduser()) if metadata else None
    if image_dir is not None:
        folder = _find(reading.file, Path(str(image_dir)).expanduser())
    else:
        assert file is not None
        folder = file.parent
    subset = replace(values.subset(folder, where, _OPTION, is_reg=bool(is_reg)), metadata_file=file)
    if not masks:
        return subset
    if not values.masked_loss:
        hint = "switch masked_loss on, or take conditioning_data_dir out"
        told = f"{words}: the masks in conditioning_data_dir are not used without masked_loss"
        reading.complain(told, hint, warn=True)
        return subset
    return replace(subset, mask_dir=_find(reading.file, Path(str(masks)).expanduser()))


def _find(file: Path, folder: Path) -> Path:
    if not folder.is_absolute() and not folder.exists():
        beside = file.parent / folder
        if beside.exists():
            return beside
    return folder
