"""The small convolutional trunk that judge and tagger share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def lay_out(module: nn.Module, order: torch.memory_format) -> None:
    """Lay out a module's weights in memory; `channels_last` is faster on a CPU."""
    untyped: Any = module  # torch's types leave this way of calling out
    untyped.to(memory_format=order)


class Block(nn.Module):
    """A residual block of one 3 × 3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Keep the shape [B, width, H, W]."""
        return torch.relu(hidden + self.body(hidden))


def _halve(width_in: int, width_out: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, size, stride=2, padding=size // 2, bias=False),
        nn.BatchNorm2d(width_out),
        nn.ReLU(),
    )


class Trunk(nn.Module):
    """Halvings, with residual blocks from the third on, then mean and maximum over the places."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        """`widths` are the channels after each halving."""
        super().__init__()
        stages: list[nn.Module] = []
        for number, (before, width) in enumerate(zip((3, *widths), widths, strict=False)):
            stages.append(_halve(before, width, 5 if number == 0 else 3))
            if number >= 2:
                stages.append(Block(width))
        self.stages = nn.Sequential(*stages)
        self.num_features = 2 * widths[-1]

    def forward(self, pictures: Tensor) -> Tensor:
        """Turn [B, 3, H, W] in -1 to 1 into features [B, num_features]."""
        hidden = self.stages(pictures)
        return torch.cat([hidden.mean((2, 3)), hidden.amax((2, 3))], dim=1)
