"""Opens somebody's settings, whatever file they are in: told by its content, not by its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kohya_gui.importers.from_metadata import job_from_metadata
from kohya_gui.importers.from_options import job_from_options
from kohya_gui.importers.kohya_json import convert
from kohya_gui.importers.report import Report
from sd_scripts.errors import UserError
from sd_scripts.options.toml_file import read_toml
from sd_scripts.weights.headers import file_format, read_safetensors_header

_METADATA = "__metadata__"


def is_json(text: str) -> bool:
    """Whether a text is meant to be JSON rather than TOML. A TOML file never begins so."""
    return text.lstrip("\ufeff \t\r\n").startswith(("{", "[{"))


def report_of_json(text: str, source: str) -> Report:
    """Report on kohya_ss settings, or on the header of a safetensors file. Raises `UserError` when
    the text is neither."""
    try:
        content: Any = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{source} is not valid JSON: {error}", hint="choose the file that kohya_ss saved"
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{source} is a list, not settings of a training",
            hint="choose a .json that kohya_ss saved with its settings",
        )
    if _METADATA in content or _is_header(content):
        metadata = content.get(_METADATA)
        tensors = [name for name in content if name != _METADATA]
        return job_from_metadata(metadata if isinstance(metadata, dict) else {}, tensors)
    if {"datasets", "general"} & content.keys():
        raise UserError(
            f"{source} describes a dataset, not a training",
            option="dataset_config",
            hint="name it in the option dataset_config",
        )
    return convert(content)


def _is_header(content: Mapping[str, Any]) -> bool:
    return bool(content) and all(
        isinstance(entry, dict) and "data_offsets" in entry for entry in content.values()
    )


def foreign_report(path: Path) -> Report | None:
    """Report on a file of kohya_ss (JSON) or a trained .safetensors file; None for any other text,
    which may be a job's TOML. Raises `UserError` when it cannot be read."""
    found = _read(path)
    return found if isinstance(found, Report) else None


def report_of_file(path: Path) -> Report:
    """Report on a file of kohya_ss (JSON), of sd-scripts (TOML), or on a trained .safetensors file.
    Raises `UserError` when it is none of these, or cannot be read."""
    found = _read(path)
    return found if isinstance(found, Report) else job_from_options(read_toml(found, path.name))


def _read(path: Path) -> Report | str:
    """The report on what is no TOML, or the text that may be TOML."""
    try:
        if file_format(path) == "safetensors":
            header = read_safetensors_header(path)
            return job_from_metadata(header.metadata, header.tensors)
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path.name} is neither text nor a safetensors file",
            hint="choose a .json, a .toml or a .safetensors file",
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be read: {reason}", hint="choose another file") from error
    return report_of_json(text, path.name) if is_json(text) else text
