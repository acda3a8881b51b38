"""Cuts a DyLoRA file to smaller ranks: each is a plain LoRA that gives what was trained there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from sd_scripts.errors import UserError

_DOWN: Final = ".lora_down.weight"
_UP: Final = ".lora_up.weight"
_ALPHA: Final = ".alpha"


def rank_of(tensors: Mapping[str, Tensor]) -> int:
    """Return the largest rank in a LoRA file. Raises `UserError` if it holds no LoRA."""
    ranks = [tensor.shape[0] for key, tensor in tensors.items() if key.endswith(_DOWN)]
    if not ranks:
        raise UserError(
            "The file holds no LoRA weights", option="model", hint="Choose a DyLoRA file."
        )
    return max(ranks)


def growth_of(metadata: Mapping[str, str]) -> float:
    """Return how training scaled a cut at k of R ranks: by (R / k) to this power.

    LyCORIS' DyLoRA has 1, that of sd-scripts ½.
    """
    return 1.0 if metadata.get("ss_network_module") == "lycoris.kohya" else 0.5


def slice_lora(tensors: Mapping[str, Tensor], rank: int, growth: float) -> dict[str, Tensor]:
    """Return a file's tensors cut to its first `rank` ranks.

    A reader scales by alpha / rank, training by alpha / R · (R / rank) ** `growth`; so alpha is
    multiplied by (rank / R) ** (1 − growth). Modules of a smaller rank stay as they are.
    """
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key.endswith(_DOWN):
            found[key] = tensor[:rank].clone()
        elif key.endswith(_UP):
            found[key] = tensor[:, :rank].clone()
        elif key.endswith(_ALPHA):
            whole = tensors[key.removesuffix(_ALPHA) + _DOWN].shape[0]
            share = min(1.0, rank / whole)
            found[key] = tensor * share ** (1.0 - growth)
        else:
            found[key] = tensor
    return found
