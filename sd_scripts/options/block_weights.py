"""Values for each block of a U-Net, as sd-scripts writes them: ranks, alphas and rate factors.

SD 1.x and 2.x have 12 down blocks, 1 middle block and 12 up blocks, in `block_dims` as in the
rate factors. SDXL has 9, 3 and 9, and `block_dims` has one more value before and one behind them
(time embedding and output, which no network is attached to).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sd_scripts.options.network_arguments import NetworkArguments


@dataclass(frozen=True)
class BlockLayout:
    """How many blocks a U-Net has going down, in the middle and going up, and around them."""

    down: int
    mid: int
    up: int
    edges: int

    @property
    def count(self) -> int:
        """How many values `block_dims` has."""
        return self.down + self.mid + self.up + 2 * self.edges


SD_BLOCKS: Final = BlockLayout(12, 1, 12, 0)
SDXL_BLOCKS: Final = BlockLayout(9, 3, 9, 1)

_CURVES: Final[dict[str, Callable[[float], float]]] = {
    "sine": lambda share: math.sin(share * math.pi / 2),
    "cosine": lambda share: math.sin((1 - share) * math.pi / 2),
    "linear": lambda share: share,
    "reverse_linear": lambda share: 1 - share,
    "zeros": lambda share: 0.0,
}


def parse_course(text: str, count: int) -> tuple[float, ...]:
    """Read `count` factors: numbers with commas (missing ones are 1), or a curve ("cosine+.25").

    Raises `ValueError` if it is neither, or if there are too many numbers.
    """
    name, _, added = text.strip().partition("+")
    if curve := _CURVES.get(name.strip()):
        base = float(added) if added else 0.0
        return tuple(curve(place / max(1, count - 1)) + base for place in range(count))
    numbers = tuple(float(part) for part in text.strip("()[] ").split(",") if part.strip())
    if not numbers or len(numbers) > count or not all(map(math.isfinite, numbers)):
        raise ValueError(text)
    return numbers + (1.0,) * (count - len(numbers))


def rate_factors(arguments: NetworkArguments, layout: BlockLayout) -> tuple[float, ...] | None:
    """Return the factor on the U-Net's rate for each block, in `block_dims`' order.

    None if there is none to set. 0 means that the block gets no network at all, as do factors
    that are not above `block_lr_zero_threshold`.
    """
    sides = (("down", layout.down), ("mid", layout.mid), ("up", layout.up))
    texts = {side: arguments.text(f"{side}_lr_weight") for side, _ in sides}
    if not any(texts.values()):
        return None
    found: list[float] = []
    for side, count in sides:
        text = texts[side]
        found += (1.0,) * count if text is None else parse_course(text, count)
    threshold = arguments.number("block_lr_zero_threshold") or 0.0
    kept = tuple(factor if factor > threshold else 0.0 for factor in found)
    edge = (1.0,) * layout.edges
    return edge + kept + edge
