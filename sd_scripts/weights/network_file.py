"""Network files of any kind (LoRA, LyCORIS, OFT): tensors by module, under our own names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.weights.files import load_tensors, read_metadata
from sd_scripts.weights.lora_names import UNET_PREFIX, own_name, read_name
from sd_scripts.weights.model_kinds import FamilyName

_OFT_PREFIX: Final = "oft_unet_"
_LORA_PARTS: Final = {
    "down": "lora_down.weight",
    "up": "lora_up.weight",
    "alpha": "alpha",
    "dora": "dora_scale",
}


@dataclass(frozen=True)
class NetworkFile:
    """Modules in the file's order, each with its tensors by the part of the key behind its name.

    `unknown` are keys that belong to no module.
    """

    modules: Mapping[str, Mapping[str, Tensor]]
    metadata: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def read_network(
    path: str | os.PathLike[str], family: FamilyName, option: str | None = None
) -> NetworkFile:
    """Read a network's file, whoever wrote it. Raises `UserError` if it cannot be, or is none."""
    path = Path(path)
    found = network_from_tensors(load_tensors(path, option), family, read_metadata(path))
    if not found.modules:
        raise UserError(
            f"{path.name} holds no weights of a LoRA or LyCORIS network",
            option=option,
            hint="Choose a LoRA file (.safetensors) of a model of the same family.",
        )
    return found


def network_from_tensors(
    tensors: Mapping[str, Tensor],
    family: FamilyName,
    metadata: Mapping[str, str] | None = None,
) -> NetworkFile:
    """The same from tensors in memory."""
    modules: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for key, tensor in tensors.items():
        if placed := _place(key, family):
            modules.setdefault(placed[0], {})[placed[1]] = tensor
        else:
            unknown.append(key)
    return NetworkFile(modules, metadata or {}, tuple(unknown))


def _place(key: str, family: FamilyName) -> tuple[str, str] | None:
    """Return the module's own name and the part of the key behind it."""
    if lora := read_name(key, family):
        return lora.module, _LORA_PARTS[lora.part]
    module, _, part = key.partition(".")
    if module.startswith(_OFT_PREFIX):
        path = UNET_PREFIX + module.removeprefix(_OFT_PREFIX)
        return _OFT_PREFIX + own_name(path, family).removeprefix(UNET_PREFIX), part
    if part and module.startswith("lora_"):
        return own_name(module, family), part
    return None
