"""The OFT layer: the base's output channels are turned, in blocks, by orthogonal matrices.

Qiu et al. 2023, "Controlling Text-to-Image Diffusion by Orthogonal Finetuning". The weight Rᵀ W
gives the same as turning W x, so no weight is built anew.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sd_scripts.methods.layer import NetworkLayer
from sd_scripts.weights.network_difference import rotation


class OftLayer(NetworkLayer):
    """Turns the base's product in `num_blocks` blocks: y = Rᵀ (W x) + b.

    R = (I + Q)(I − Q)⁻¹, Q = B − Bᵀ with ‖Q‖ at most alpha · out. `oft_blocks` is
    [num_blocks, out / num_blocks, out / num_blocks] and starts as zeros, R then is I.
    """

    alpha: Tensor

    def __init__(self, name: str, base: nn.Module, num_blocks: int, alpha: float) -> None:
        super().__init__(name, base)
        assert isinstance(base, nn.Linear | nn.Conv2d), f"{name} is neither Linear nor Conv2d"
        out = base.weight.shape[0]
        assert out % num_blocks == 0, f"{name}: {out} outputs cannot be cut into {num_blocks}"
        self.rank, self.alpha_value = num_blocks, alpha
        self._limit = alpha * out
        size = out // num_blocks
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.oft_blocks = nn.Parameter(
            torch.zeros(num_blocks, size, size, device=base.weight.device)
        )

    def changed_forward(self, x: Tensor) -> Tensor:
        """Return the base's output with its channels turned."""
        y = self.product(x)
        turns = rotation(self.oft_blocks.float(), self._limit)
        unit = torch.eye(turns.shape[-1], device=turns.device)
        return self.with_bias(y + self.multiplier * turn_channels(y, turns - unit, self.base))

    def file_tensors(self) -> dict[str, Tensor]:
        """Return the blocks and alpha, which limits them."""
        return {"alpha": self.alpha, "oft_blocks": self.oft_blocks}

    @torch.no_grad()
    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a file's blocks."""
        self.oft_blocks.copy_(tensors["oft_blocks"])


def turn_channels(y: Tensor, matrices: Tensor, base: nn.Module) -> Tensor:
    """Return Mᵀ y by blocks of output channels; `matrices` is [blocks, size, size]."""
    matrices = matrices.to(y.dtype)
    count, size = matrices.shape[:2]
    if isinstance(base, nn.Conv2d):
        cut = y.view(len(y), count, size, -1)
        return torch.einsum("k n m, b k n p -> b k m p", matrices, cut).reshape(y.shape)
    cut = y.view(*y.shape[:-1], count, size)
    return torch.einsum("k n m, ... k n -> ... k m", matrices, cut).reshape(y.shape)
