"""The networks that can be trained and the name=value arguments each takes, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from sd_scripts.options.optimizer_table import Argument

NetworkName = Literal[
    "networks.lora", "networks.lora_fa", "networks.dylora", "networks.oft", "lycoris.kohya"
]

Algorithm = Literal[
    "lora", "locon", "loha", "lokr", "ia3", "dylora", "glora", "full", "diag-oft", "boft"
]
"""What LyCORIS can train; "lora" and "locon" are the same."""

PRESETS: Final = (
    "full",
    "full-lin",
    "attn-mlp",
    "attn-only",
    "unet-only",
    "unet-transformer-only",
    "unet-convblock-only",
    "ia3",
)
"""LyCORIS' choices of layers by name; anything else is the path of a .toml file."""

Carried = Literal["conv_dim", "conv_alpha", "algo", "preset", "rank_dropout", "module_dropout"]
"""Arguments that are options of their own here and stand in `network_args` in a file."""


@dataclass(frozen=True)
class NetworkEntry:
    """A network module: what it is, its arguments, and the options that are arguments of it."""

    name: NetworkName
    text: str
    arguments: tuple[Argument, ...]
    carried: tuple[Carried, ...]

    def argument(self, name: str) -> Argument | None:
        """The argument of that name, if there is one."""
        return next((found for found in self.arguments if found.name == name), None)


def _number(name: str, help_text: str) -> Argument:
    return Argument(name, "float", None, help_text, optional=True)


def _flag(name: str, help_text: str, default: bool = False) -> Argument:
    return Argument(name, "bool", default, help_text)


def _course(side: str, count: str) -> Argument:
    text = (
        f"Factors on the U-Net's learning rate for its {side} blocks, {count}: numbers with "
        "commas (missing ones are 1), or one of sine, cosine, linear, reverse_linear, zeros, "
        "each also with a number added: cosine+.25."
    )
    return Argument(f"{side}_lr_weight", "text", None, text, optional=True)


_PLUS: Final = (
    _number("loraplus_lr_ratio", "LoRA+: the rate of the upper factors is this many times higher."),
    _number("loraplus_unet_lr_ratio", "The same for the U-Net only; it goes first."),
    _number("loraplus_text_encoder_lr_ratio", "The same for the text encoders only."),
)

_BLOCK_RATES: Final = (
    _course("down", "12 (SDXL 9)"),
    _course("mid", "1 (SDXL 3)"),
    _course("up", "12 (SDXL 9)"),
    Argument(
        "block_lr_zero_threshold",
        "float",
        0.0,
        "Blocks whose factor is not above this are left out of the network.",
    ),
)

_BLOCK_RANKS: Final = (
    Argument("block_dims", "ints", None, "Rank of each U-Net block: 25 numbers (SDXL 23); "
             "0 leaves a block out.", optional=True),
    Argument("block_alphas", "floats", None, "Alpha of each block, as block_dims.", optional=True),
    Argument("conv_block_dims", "ints", None, "Rank of the 3x3 convolutions of each block.",
             optional=True),
    Argument("conv_block_alphas", "floats", None, "Alpha of the 3x3 convolutions of each block.",
             optional=True),
)  # fmt: skip

_DORA: Final = (
    _flag(
        "dora_wd",
        "DoRA: direction and length of the weights learn apart. Not in sd-scripts; stock "
        "diffusers leaves the lengths of such a file out.",
    ),
)

_LYCORIS: Final = (
    Argument("dropout", "float", None, "As network_dropout, and instead of it.", optional=True),
    _flag("rank_dropout_scale", "What rank_dropout leaves is divided by the share that it leaves."),
    Argument("factor", "int", -1, "lokr: the size of the small factor; -1 is as square as it can."),
    _flag("decompose_both", "lokr: the small factor is of low rank, too."),
    _flag("full_matrix", "lokr: no factor is of low rank."),
    _flag("unbalanced_factorization", "lokr: large and small are swapped for the output."),
    _flag("use_tucker", "lora, loha, lokr: a Tucker decomposition for 3x3 convolutions."),
    _flag("use_cp", "Old name of use_tucker."),
    _flag("use_conv_cp", "Old name of use_tucker."),
    _flag("disable_conv_cp", "Old name of use_tucker, the other way round.", default=True),
    _flag("use_scalar", "lora, loha, lokr, glora: start from a learnt factor 0 instead of zeros."),
    _flag("rs_lora", "lora, loha, lokr: scale by alpha / √rank instead of alpha / rank."),
    _flag("dora_wd", "lora, loha, lokr: direction and length of the weights learn apart (DoRA)."),
    _flag("wd_on_output", "DoRA: lengths are of rows (outputs), not of columns.", default=True),
    Argument("bypass_mode", "bool", None, "Understood; the form without rebuilt weights is used "
             "anyway where there is one.", optional=True),
    _flag("train_norm", "Norm layers learn, too."),
    Argument("block_size", "int", 4, "dylora: how many ranks are learnt together."),
    Argument("constraint", "float", 0.0, "diag-oft, boft: limit on the rotation; 0 is none."),
    Argument("constrain", "float", 0.0, "Old name of constraint."),
    _flag("rescaled", "diag-oft, boft: a learnt length for each output."),
    _flag("train_t5xxl", "Only False: the models that are trained here have no T5."),
    *_PLUS,
)  # fmt: skip

_ENTRIES: Final = (
    NetworkEntry(
        "networks.lora",
        "LoRA, and LoCon when conv_dim is set",
        (*_BLOCK_RANKS, *_BLOCK_RATES, *_PLUS, *_DORA),
        ("conv_dim", "conv_alpha", "rank_dropout", "module_dropout"),
    ),
    NetworkEntry(
        "networks.lora_fa",
        "LoRA whose lower factors stay as they start: half of the memory for learning",
        (*_BLOCK_RANKS, *_BLOCK_RATES),
        ("conv_dim", "conv_alpha", "rank_dropout", "module_dropout"),
    ),
    NetworkEntry(
        "networks.dylora",
        "LoRA that learns all ranks at once, to be cut to any of them afterwards",
        (
            Argument("unit", "int", 1, "How many ranks are learnt together; divides the rank."),
            *_PLUS,
        ),
        ("conv_dim", "conv_alpha", "module_dropout"),
    ),
    NetworkEntry(
        "networks.oft",
        "OFT: the U-Net's attention weights are rotated",
        (
            _flag("enable_all_linear", "All linear layers of the transformer blocks, too."),
            _flag("enable_conv", "The convolutions, too."),
        ),
        (),
    ),
    NetworkEntry(
        "lycoris.kohya",
        "LyCORIS: LoHa, LoKr, IA3, DyLoRA, GLoRA, OFT, BOFT, full differences; see algo",
        _LYCORIS,
        ("algo", "preset", "conv_dim", "conv_alpha", "rank_dropout", "module_dropout"),
    ),
)

NETWORKS: Final[dict[NetworkName, NetworkEntry]] = {entry.name: entry for entry in _ENTRIES}

assert set(NETWORKS) == set(get_args(NetworkName))
