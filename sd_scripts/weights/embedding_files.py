"""Embedding files of any writer: the vectors of a new word, one tensor for each text encoder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.weights.files import load_tensors
from sd_scripts.weights.headers import file_format
from sd_scripts.weights.model_kinds import FamilyName

KEYS: Final[Mapping[FamilyName, tuple[str, ...]]] = {
    "sd1": ("emb_params",),
    "sd2": ("emb_params",),
    "sdxl": ("clip_l", "clip_g"),
}
"""The names in a file by family, one for each text encoder. What stands there is [vectors, D]."""

_OTHER_PAIRS: Final = (("text_encoders_0", "text_encoders_1"),)
_A1111: Final = "string_to_param"
OPTION: Final = "weights"


def read_embedding(
    path: str | os.PathLike[str], family: FamilyName, widths: tuple[int, ...]
) -> tuple[Tensor, ...]:
    """Return a word's vectors [n, D] (float32), for each of the family's text encoders.

    `widths` are the encoders' D. Read are files of this program and sd-scripts (`emb_params`;
    `clip_l` and `clip_g`), of AUTOMATIC1111's web UI (`string_to_param`) and of diffusers (the word
    as the only name). Raises `UserError` for what is damaged, is no embedding, or is one for
    another family.
    """
    path = Path(path)
    tensors = _tensors(path)
    found = _by_encoder(tensors, family)
    if found is None:
        raise UserError(
            f"{path.name} is no embedding for this model: it holds {_named(tensors)}",
            option=OPTION,
            hint=_wanted(family),
        )
    rows = tuple(tensor[None] if tensor.ndim == 1 else tensor for tensor in found)
    fits = [
        one.ndim == 2 and one.shape[1] == width for one, width in zip(rows, widths, strict=True)
    ]
    if not all(fits) or len({one.shape[0] for one in rows}) != 1:
        sizes = ", ".join("x".join(map(str, one.shape)) for one in rows)
        raise UserError(
            f"{path.name} was made for another kind of model: its vectors are {sizes}, where this "
            f"model has {' and '.join(map(str, widths))} numbers a vector",
            option=OPTION,
            hint=_wanted(family),
        )
    return tuple(one.detach().float().contiguous() for one in rows)


def _by_encoder(tensors: Mapping[str, Tensor], family: FamilyName) -> list[Tensor] | None:
    keys = KEYS[family]
    for names in (keys, *_OTHER_PAIRS):
        if len(names) == len(keys) and all(name in tensors for name in names):
            return [tensors[name] for name in names]
    if len(keys) == 1 and len(tensors) == 1:
        return list(tensors.values())
    return None


def _tensors(path: Path) -> dict[str, Tensor]:
    """Read a file's tensors; those of a web UI's pickle lie one level deeper."""
    tensors = load_tensors(path, OPTION)
    if tensors or file_format(path) == "safetensors":
        return tensors
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    inner = content.get(_A1111)
    if not isinstance(inner, Mapping):
        return {}
    return {str(name): one for name, one in inner.items() if isinstance(one, Tensor)}


def _named(tensors: Mapping[str, Tensor]) -> str:
    if not tensors:
        return "no vectors"
    names = list(tensors)
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _wanted(family: FamilyName) -> str:
    encoders = "both text encoders (clip_l and clip_g)" if family == "sdxl" else "one text encoder"
    return f"choose an embedding that was made for {family.upper()}, with vectors for {encoders}"
