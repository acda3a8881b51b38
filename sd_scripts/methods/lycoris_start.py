"""What a LyCORIS file says of a layer's settings: its algorithm, rank and alpha."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Literal

from torch import Tensor

from sd_scripts.methods.lycoris_layers import LycorisShape
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.options.network_table import Algorithm

Parts = Mapping[str, Tensor]

_ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "lora_down.weight": "locon",
    "hada_w1_a": "loha",
    "lokr_w1": "lokr",
    "lokr_w1_a": "lokr",
    "a1.weight": "glora",
    "diff": "full",
    "on_input": "ia3",
}


def _lokr_rank(parts: Parts) -> int | None:
    for key in ("lokr_w2_b", "lokr_w1_b"):
        if key in parts:
            return parts[key].shape[0]
    return None


_RANKS: Final[Mapping[Algorithm, Callable[[Parts], int | None]]] = {
    "locon": lambda parts: parts["lora_down.weight"].shape[0],
    "loha": lambda parts: parts["hada_w1_b"].shape[0],
    "lokr": _lokr_rank,
    "glora": lambda parts: parts["a2.weight"].shape[0],
    "diag-oft": lambda parts: parts["oft_blocks"].shape[-1],
    "boft": lambda parts: parts["oft_blocks"].shape[-1],
}


def algorithm_of(parts: Parts) -> Algorithm | None:
    """Tell a module's algorithm by its tensors; None if they are of a norm or unknown."""
    if "oft_blocks" in parts:
        return "diag-oft" if parts["oft_blocks"].ndim == 3 else "boft"
    return next((algo for key, algo in _ALGORITHMS.items() if key in parts), None)


def shape_from_file(shape: LycorisShape, parts: Parts, network: NetworkOptions) -> LycorisShape:
    """Return a layer's settings with the file's alpha; with `dim_from_weights` all it tells.

    A layer whose file is of another algorithm is left as it is: it will not fit.
    """
    algo = algorithm_of(parts)
    same = algo == shape.algo or (algo == "locon" and shape.algo in ("lora", "dylora"))
    if network.dim_from_weights and algo is not None:
        rank = _RANKS[algo](parts) if algo in _RANKS else None
        shape = replace(
            shape,
            algo=shape.algo if same else algo,
            rank=rank or shape.rank,
            full_matrix=shape.full_matrix or (algo == "lokr" and "lokr_w2" in parts),
            decompose_both=algo == "lokr" and "lokr_w1_a" in parts,
            use_tucker=any(key in parts for key in ("lora_mid.weight", "hada_t1", "lokr_t2")),
            rescaled="rescale" in parts,
            dora=_dora_of(parts) if "dora_scale" in parts else None,
        )
        same = True
    if not same or "alpha" not in parts:
        return shape
    alpha = float(parts["alpha"])
    if algo in ("diag-oft", "boft"):
        return replace(shape, constraint=alpha)
    if algo == "lokr" and "lokr_w1" in parts and "lokr_w2" in parts:
        return shape  # its alpha is the rank, whatever was asked for
    return replace(shape, alpha=alpha / math.sqrt(shape.rank) if shape.rs_lora else alpha)


def _dora_of(parts: Parts) -> Literal["rows", "columns"]:
    lengths = parts["dora_scale"]
    return "columns" if lengths.ndim > 1 and lengths.shape[0] == 1 else "rows"
