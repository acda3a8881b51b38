"""DoRA: the length of a weight's rows (or columns) learns apart from their direction.

W' = (W + ΔW) · m / (‖W + ΔW‖ + eps), Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank
Adaptation", eq. 5. As in its section 4.3 the norm is a constant for the gradient, so no layer
keeps a whole weight for the backward pass: a row's factor scales the output, a column's the input.
"""

from __future__ import annotations

import torch
from torch import Tensor


def row_norms(weight: Tensor, *, columns: bool = False) -> Tensor:
    """Return the lengths of a weight's rows as [out, 1(, 1, 1)], or of columns [1, in(, 1, 1)].

    In float32, whatever the weight's dtype.
    """
    dims = [dim for dim in range(weight.ndim) if dim != (1 if columns else 0)]
    if weight.device.type == "meta":
        shape = [1 if dim in dims else size for dim, size in enumerate(weight.shape)]
        return torch.empty(shape, device="meta")
    norms: Tensor = torch.linalg.vector_norm(weight.float(), dim=dims, keepdim=True)
    return norms


def dora_factor(weight: Tensor, difference: Tensor, lengths: Tensor, *, columns: bool) -> Tensor:
    """Return m / (‖W + ΔW‖ + eps), shaped like `lengths`; only `lengths` gets a gradient.

    `difference` is ΔW, of `weight`'s shape or with its last axes joined. Sums go in the order of
    the axes, however `weight` lies in memory: a packed one changes its order at its first use.
    """
    with torch.no_grad():
        merged = weight.float().contiguous() + difference.view(weight.shape)
        norms = row_norms(merged, columns=columns)
        norms += torch.finfo(torch.float32).eps
    return lengths / norms
