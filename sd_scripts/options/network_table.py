"""The networks that can be trained and the name=value arguments each takes or will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from sd_scripts.options.optimizer_table import Argument

NetworkName = Literal["networks.lora"]

LATER_NETWORKS: Final = ("networks.lora_fa", "networks.dylora", "networks.oft", "lycoris.kohya")


@dataclass(frozen=True)
class NetworkEntry:
    """A network module: what it is, its arguments, and those sd-scripts has and we not yet."""

    name: NetworkName
    text: str
    arguments: tuple[Argument, ...]
    later_arguments: tuple[str, ...]


_ENTRIES: Final = (
    NetworkEntry(
        "networks.lora",
        "LoRA, and LoCon when conv_dim is set",
        (),
        (
            "block_dims",
            "block_alphas",
            "conv_block_dims",
            "conv_block_alphas",
            "down_lr_weight",
            "mid_lr_weight",
            "up_lr_weight",
            "block_lr_zero_threshold",
            "rank_dropout",
            "module_dropout",
            "loraplus_lr_ratio",
            "loraplus_unet_lr_ratio",
            "loraplus_text_encoder_lr_ratio",
        ),
    ),
)

NETWORKS: Final[dict[NetworkName, NetworkEntry]] = {entry.name: entry for entry in _ENTRIES}

assert set(NETWORKS) == set(get_args(NetworkName))
