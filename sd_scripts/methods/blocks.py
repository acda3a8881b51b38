"""Ranks, alphas and rate factors by U-Net block, and which block a layer's name is of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from sd_scripts.errors import Problem, raise_if_errors
from sd_scripts.options.block_weights import SD_BLOCKS, SDXL_BLOCKS, BlockLayout, rate_factors
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.weights.model_kinds import FamilyName

_UP_DOWN: Final = re.compile(
    r"lora_unet_(down|up)_blocks_(\d+)_(resnets|attentions|downsamplers|upsamplers)_(\d+)_"
)
_SIDES: Final = {"input_blocks": 1, "middle_block": 10, "output_blocks": 13}
_SAI: Final = re.compile(r"lora_unet_(input_blocks|middle_block|output_blocks)_(\d+)_")


@dataclass(frozen=True)
class Blocks:
    """Values by block of one family's U-Net, None where there are none by block.

    `factors` are on the learning rate; 0 means no network in that block.
    """

    layout: BlockLayout
    ranks: tuple[int, ...] | None = None
    alphas: tuple[float, ...] | None = None
    conv_ranks: tuple[int, ...] | None = None
    conv_alphas: tuple[float, ...] | None = None
    factors: tuple[float, ...] | None = None

    @classmethod
    def of(cls, network: NetworkOptions, family: FamilyName) -> Self:
        """Read the blocks' values out of the arguments.

        Raises `UserError` for lists that are not as long as this family has blocks.
        """
        layout = SDXL_BLOCKS if family == "sdxl" else SD_BLOCKS
        arguments = network.arguments
        raise_if_errors(list(_wrong_lengths(network, layout)))
        return cls(
            layout,
            _whole(arguments.numbers("block_dims")),
            arguments.numbers("block_alphas"),
            _whole(arguments.numbers("conv_block_dims")),
            arguments.numbers("conv_block_alphas"),
            rate_factors(arguments, layout),
        )

    def factor(self, name: str) -> float:
        """Return the factor on the rate of the layer of that name."""
        place = self.place(name)
        return 1.0 if self.factors is None or place is None else self.factors[place]

    def place(self, name: str) -> int | None:
        """Return which block a layer is in, by its kohya name; None outside of the U-Net's blocks.

        The places are those of `block_dims`.
        """
        if self.layout is SDXL_BLOCKS:
            found = _SAI.match(name)
            return _SIDES[found[1]] + int(found[2]) if found else None
        if name.startswith("lora_unet_mid_block_"):
            return SD_BLOCKS.down
        if (found := _UP_DOWN.match(name)) is None:
            return None
        inside = 2 if found[3].endswith("samplers") else int(found[4])
        start = 1 if found[1] == "down" else SD_BLOCKS.down + SD_BLOCKS.mid
        return start + 3 * int(found[2]) + inside


def _whole(numbers: tuple[float, ...] | None) -> tuple[int, ...] | None:
    return None if numbers is None else tuple(int(number) for number in numbers)


def _wrong_lengths(network: NetworkOptions, layout: BlockLayout) -> Iterator[Problem]:
    arguments = network.arguments
    for name in ("block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"):
        numbers = arguments.numbers(name)
        if numbers is not None and len(numbers) != layout.count:
            yield Problem(
                f"{name} has {len(numbers)} numbers, but this model has {layout.count} blocks",
                "network_args, pretrained_model_name_or_path",
                f"Give {layout.count} numbers.",
            )
    for side, count in (("down", layout.down), ("mid", layout.mid), ("up", layout.up)):
        text = arguments.text(f"{side}_lr_weight")
        if text and text.count(",") + 1 > count:
            yield Problem(
                f"{side}_lr_weight has more numbers than the {count} blocks of this model",
                "network_args, pretrained_model_name_or_path",
                f"Give {count} numbers or fewer.",
            )
