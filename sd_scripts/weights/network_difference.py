"""What a module of a network's file changes in its base weight: a formula for each kind.

Sources: the LyCORIS paper (Yeh et al. 2023, "Navigating Text-To-Image Customization") for LoRA,
LoHa and LoKr; Liu et al. 2024 for DoRA; Qiu et al. 2023 for OFT; Liu et al. 2024 for BOFT;
Chavan et al. 2023 for GLoRA; Liu et al. 2022 for IA3. The tensors' names are those that
sd-scripts and LyCORIS write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor

Parts = Mapping[str, Tensor]


class Difference(NamedTuple):
    """What is added to a weight, in float32 and of its shape, and to its bias, if anything."""

    weight: Tensor
    bias: Tensor | None = None


def difference(parts: Parts, weight: Tensor) -> Difference | None:
    """Return what a module's tensors change in `weight` [out, in(, k, k)], at full strength.

    None if the tensors are of no known kind. Raises `ValueError` or `RuntimeError` if their sizes
    do not fit the weight.
    """
    parts = {key: tensor.float() for key, tensor in parts.items()}
    base = weight.float()
    for key, formula in _FORMULAS.items():
        if key in parts:
            found = formula(parts, base)
            if "dora_scale" in parts:
                merged = base + found.weight
                return Difference(merged * _dora(merged, parts["dora_scale"]) - base, found.bias)
            return found
    return None


def _scale(parts: Parts, rank: int) -> float:
    alpha = float(parts["alpha"]) if "alpha" in parts else 0.0
    return (alpha or float(rank)) / rank


def _dora(merged: Tensor, lengths: Tensor) -> Tensor:
    """Return the factors of rows, or of columns if the lengths are of columns."""
    of_columns = lengths.ndim > 1 and lengths.shape[0] == 1 and merged.shape[0] != 1
    kept = 1 if of_columns else 0
    dims = [dim for dim in range(merged.ndim) if dim != kept]
    norms: Tensor = torch.linalg.vector_norm(merged, dim=dims, keepdim=True)
    return lengths.reshape(norms.shape) / (norms + torch.finfo(torch.float32).eps)


def _tucker(core: Tensor, out: Tensor, into: Tensor) -> Tensor:
    """Return Σ core[r, s, …] out[r, o] into[s, i] as [o, i, …]."""
    return torch.einsum("r s ..., r o, s i -> o i ...", core, out, into)


def _lora(parts: Parts, weight: Tensor) -> Difference:
    down, up = parts["lora_down.weight"], parts["lora_up.weight"]
    scale = _scale(parts, down.shape[0])
    middle = parts.get("lora_mid.weight")
    if middle is not None:
        return Difference(_tucker(middle, up.flatten(1).t(), down.flatten(1)) * scale)
    return Difference(((up.flatten(1) @ down.flatten(1)) * scale).view(weight.shape))


def _loha(parts: Parts, weight: Tensor) -> Difference:
    rank = parts["hada_w1_b"].shape[0]

    def side(number: int) -> Tensor:
        left, right = parts[f"hada_w{number}_a"], parts[f"hada_w{number}_b"]
        core = parts.get(f"hada_t{number}")
        return left @ right if core is None else _tucker(core, left, right)

    return Difference((side(1) * side(2)).view(weight.shape) * _scale(parts, rank))


def _lokr(parts: Parts, weight: Tensor) -> Difference:
    small, rank = parts.get("lokr_w1"), None
    if small is None:
        rank = parts["lokr_w1_b"].shape[0]
        small = parts["lokr_w1_a"] @ parts["lokr_w1_b"]
    large = parts.get("lokr_w2")
    if large is None:
        left, right = parts["lokr_w2_a"], parts["lokr_w2_b"]
        rank = right.shape[0]
        core = parts.get("lokr_t2")
        large = left @ right if core is None else _tucker(core, left, right)
    if large.ndim == 2 and weight.ndim == 4:
        large = large.view(large.shape[0], -1, *weight.shape[2:])
    product = torch.kron(small.view(*small.shape, *[1] * (large.ndim - 2)), large)
    return Difference(product.view(weight.shape) * (1.0 if rank is None else _scale(parts, rank)))


def _glora(parts: Parts, weight: Tensor) -> Difference:
    a1, a2 = parts["a1.weight"].flatten(1), parts["a2.weight"].flatten(1)
    b1, b2 = parts["b1.weight"].flatten(1), parts["b2.weight"].flatten(1)
    through = torch.einsum("o i ..., i r, r j -> o j ...", weight, a1, a2)
    beside = (b1 @ b2).view(weight.shape)
    return Difference((through + beside) * _scale(parts, a2.shape[0]))


def _full(parts: Parts, weight: Tensor) -> Difference:
    return Difference(parts["diff"].view(weight.shape), parts.get("diff_b"))


def _norm(parts: Parts, weight: Tensor) -> Difference:
    return Difference(parts["w_norm"].view(weight.shape), parts.get("b_norm"))


def _ia3(parts: Parts, weight: Tensor) -> Difference:
    factor = parts["weight"].flatten()
    shape = [1] * weight.ndim
    shape[1 if bool(parts["on_input"]) else 0] = -1
    return Difference(weight * factor.view(shape))


def rotation(blocks: Tensor, constraint: float) -> Tensor:
    """Return R = (I + Q)(I − Q)⁻¹ with Q = B − Bᵀ, its norm at most `constraint` (0: no limit).

    `blocks` is [..., b, b], and so is R.
    """
    skew = blocks - blocks.transpose(-1, -2)
    if constraint > 0:
        norm = torch.linalg.vector_norm(skew) + 1e-8
        skew = torch.where(norm > constraint, skew * (constraint / norm), skew)
    unit = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
    # X (I − Q) = I + Q; in float32, since there is no solver for less.
    solved: Tensor = torch.linalg.solve((unit - skew).float(), (unit + skew).float(), left=False)
    return solved


def _oft(parts: Parts, weight: Tensor) -> Difference:
    blocks = parts["oft_blocks"]
    out = weight.shape[0]
    limit = float(parts["alpha"]) * out if "alpha" in parts else 0.0
    turns = rotation(blocks, limit)
    turned = weight
    if blocks.ndim == 3:
        cut = weight.view(*blocks.shape[:2], *weight.shape[1:])
        turned = torch.einsum("k n m, k n ... -> k m ...", turns, cut).reshape(weight.shape)
    else:
        for level, turn in enumerate(turns):
            turned = _butterfly(turn, turned, level)
    if "rescale" in parts:
        turned = turned * parts["rescale"].view(out, *[1] * (weight.ndim - 1))
    return Difference(turned - weight)


def _butterfly(turn: Tensor, weight: Tensor, level: int) -> Tensor:
    """Turn rows of `weight` by one butterfly factor [n, b, b]."""
    count, size = turn.shape[:2]
    group, stride = 2, 2**level * (size // 2)
    rest = weight.shape[1:]
    cut = weight.reshape(-1, group, stride, *rest).transpose(1, 2).reshape(count, size, *rest)
    turned = torch.einsum("k i j, k j ... -> k i ...", turn, cut)
    back = turned.reshape(-1, stride, group, *rest).transpose(1, 2)
    return back.reshape(weight.shape)


_FORMULAS: Final[Mapping[str, Callable[[Parts, Tensor], Difference]]] = {
    "lora_down.weight": _lora,
    "hada_w1_a": _loha,
    "lokr_w1": _lokr,
    "lokr_w1_a": _lokr,
    "a1.weight": _glora,
    "diff": _full,
    "w_norm": _norm,
    "on_input": _ia3,
    "oft_blocks": _oft,
}
