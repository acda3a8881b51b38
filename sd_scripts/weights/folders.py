"""Where a diffusers folder keeps the weights of one part: variants, shards, older formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sd_scripts.errors import UserError

_SUFFIXES = (".safetensors", ".bin")


def part_weights(folder: Path, stem: str, option: str | None = None) -> tuple[Path, ...]:
    """Return the files that hold a part's weights, all shards of it.

    `stem` is `diffusion_pytorch_model` or `model` (whose `.bin` is `pytorch_model.bin`). Full
    weights are preferred to variants such as fp16, and safetensors to pickles. Raises `UserError`
    if there are none, or a shard is missing.
    """
    for suffix in _SUFFIXES:
        name = "pytorch_model" if (stem, suffix) == ("model", ".bin") else stem
        whole = (folder / f"{name}{suffix}", folder / f"{name}{suffix}.index.json")
        for path in (*whole, *_variants(folder, name, suffix)):
            if path.is_file():
                return _shards(path, option) if path.suffix == ".json" else (path,)
    raise UserError(
        f"{folder} holds no weights ({stem}.safetensors or .bin)",
        option=option,
        hint="download the folder again, with its weights",
    )


def _variants(folder: Path, name: str, suffix: str) -> list[Path]:
    """Return variant files and index files, fp16 first: `<name>.<variant><suffix>`."""
    patterns = (f"{name}.*{suffix}", f"{name}*.index*.json")
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    found = {path for path in found if "-of-" not in path.name and suffix in path.name}
    return sorted(found, key=lambda path: (".fp16" not in path.name, path.name))


def _shards(index: Path, option: str | None) -> tuple[Path, ...]:
    content = read_json(index, option)
    try:
        names = sorted(set(content["weight_map"].values()))
        files = tuple(index.parent / str(Path(name).name) for name in names)
    except (KeyError, AttributeError, TypeError) as error:
        raise UserError(
            f"{index} is not a list of weight files", option=option, hint="download it again"
        ) from error
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise UserError(
            f"{index.parent} lacks {', '.join(missing)}, which {index.name} names",
            option=option,
            hint="download the folder again, with all its files",
        )
    return files


def read_json(path: Path, option: str | None = None) -> dict[str, Any]:
    """Read a JSON object; raises `UserError` if the file is missing or holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}",
            option=option,
            hint="download the folder again, with all its files",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid JSON", option=option, hint="download it again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no configuration", option=option, hint="download it again")
    return content
