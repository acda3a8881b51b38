"""The DyLoRA layer: a LoRA of which every first part, cut at any rank, is a good LoRA itself.

Valipour et al. 2022, "DyLoRA: Parameter-Efficient Tuning of Pretrained Models using Dynamic
Search-Free Low Rank Adaptation": in each step a rank is drawn; the layer is cut there and only the
last group of ranks before the cut learns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sd_scripts.methods.layer import add_scaled
from sd_scripts.methods.lora_layers import LoraLayer, LoraShape


class DyLoraLayer(LoraLayer):
    """A LoRA layer that is cut at a random multiple of `unit` in each training step.

    A cut at rank k is scaled by (rank / k) ** `growth` besides: ½ as in sd-scripts, 1 as in
    LyCORIS, where the smaller parts count for more. Uncut (in previews, and in files), the layer
    is a plain LoRA of its rank and alpha. The rank is drawn from PyTorch's global random numbers.
    """

    def __init__(
        self,
        name: str,
        base: nn.Module,
        shape: LoraShape,
        seed: int,
        *,
        unit: int = 1,
        growth: float = 0.5,
    ) -> None:
        assert shape.rank % unit == 0, f"{name}: the rank is no multiple of the unit"
        super().__init__(name, base, shape, seed)
        self._unit = unit
        self._growth = growth

    def changed_forward(self, x: Tensor) -> Tensor:
        """Return the base's output plus the low-rank product, cut at random while training."""
        if not self.training:
            return super().changed_forward(x)
        start = self._unit * int(torch.randint(self.shape.rank // self._unit, ()))
        end = start + self._unit
        whole_down, whole_up = self.lora_down.weight, self.lora_up.weight
        down = torch.cat([whole_down[:start].detach(), whole_down[start:end]])
        up = torch.cat([whole_up[:, :start].detach(), whole_up[:, start:end]], dim=1)
        scale = self.scale * (self.shape.rank / end) ** self._growth
        if self._drops() or not self._can_fuse():
            return add_scaled(self.base_forward(x), self._low_rank(x, (down, up)), scale)
        return self.fused(x, down, up, scale)
