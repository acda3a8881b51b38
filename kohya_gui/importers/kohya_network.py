"""What network a kohya_ss file asks for, and the arguments it would have been given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kohya_gui.importers.settling import Entry, as_number, said
from sd_scripts.options.explain import shown

BLOCKS: Final = (
    "down_lr_weight",
    "mid_lr_weight",
    "up_lr_weight",
    "block_lr_zero_threshold",
    "block_dims",
    "block_alphas",
    "conv_block_dims",
    "conv_block_alphas",
)
_DROPOUTS: Final = ("rank_dropout", "module_dropout")
_PLUS: Final = ("loraplus_lr_ratio", "loraplus_text_encoder_lr_ratio", "loraplus_unet_lr_ratio")
_CONV: Final = ("conv_dim", "conv_alpha")
_LYCORIS: Final = ("LyCORIS_preset", *_CONV, *_DROPOUTS, "train_norm", "bypass_mode", *_PLUS)
_DECOMPOSED: Final = ("dora_wd", "use_cp", "use_tucker", "use_scalar", "rank_dropout_scale")
_ORTHOGONAL: Final = ("constrain", "rescaled")

ARGUMENT_NAMES: Final = {
    "LyCORIS_preset": "preset",
    "use_cp": "use_tucker",
    "constrain": "constraint",
    "conv_dims": "conv_block_dims",
    "conv_alphas": "conv_block_alphas",
}
"""Keys whose argument has another name."""

LOST_KEYS: Final = {"conv_dims": "conv_block_dims", "conv_alphas": "conv_block_alphas"}
"""Keys of old files that kohya_ss itself no longer reads, and those that took their place."""


@dataclass(frozen=True)
class NetworkKind:
    """A `LoRA_type`: its module, LyCORIS' algorithm, and the keys it looks at."""

    module: str
    keys: tuple[str, ...]
    algorithm: str | None = None


def _lycoris(algorithm: str, *more: str) -> NetworkKind:
    return NetworkKind("lycoris.kohya", (*_LYCORIS, *more), algorithm)


_PLAIN: Final = (*BLOCKS, *_DROPOUTS, *_PLUS, "conv_dims", "conv_alphas")
KINDS: Final[dict[str, NetworkKind]] = {
    "Standard": NetworkKind("networks.lora", _PLAIN),
    "Kohya LoCon": NetworkKind("networks.lora", (*_PLAIN, *_CONV)),
    "LoRA-FA": NetworkKind("networks.lora_fa", (*_PLAIN, *_CONV)),
    "Kohya DyLoRA": NetworkKind("networks.dylora", (*_CONV, "unit", *_DROPOUTS, *_PLUS)),
    "Kohya LoHa": NetworkKind("networks.loha", (*_CONV, *_DROPOUTS, "use_tucker", *_PLUS)),
    "Kohya LoKr": NetworkKind(
        "networks.lokr", (*_CONV, *_DROPOUTS, "use_tucker", "factor", *_PLUS)
    ),
    "LyCORIS/LoCon": _lycoris("locon", *_DECOMPOSED),
    "LyCORIS/LoHa": _lycoris("loha", *_DECOMPOSED),
    "LyCORIS/LoKr": _lycoris("lokr", *_DECOMPOSED, "factor", "decompose_both", "full_matrix"),
    "LyCORIS/iA3": _lycoris("ia3", "train_on_input"),
    "LyCORIS/DyLoRA": _lycoris("dylora", "unit"),
    "LyCORIS/GLoRA": _lycoris("glora", "rank_dropout_scale"),
    "LyCORIS/Diag-OFT": _lycoris("diag-oft", "unit", *_ORTHOGONAL),
    "LyCORIS/BOFT": _lycoris("boft", "unit", *_ORTHOGONAL),
    "LyCORIS/Full": _lycoris("full"),
}
_OTHER_NAMES: Final = {
    "locon": "LyCORIS/LoCon",
    "loha": "LyCORIS/LoHa",
    "lora": "Standard",
    "kohyadylora": "Kohya DyLoRA",
    "lycorisloconlora": "LyCORIS/LoCon",
    "lycorisnativefinetuning": "LyCORIS/Full",
}
_OTHER_MODELS: Final = ("flux", "sd3", "hunyuan", "anima", "lumina")
_SAME_KEYS_BY_LYCORIS: Final = {"networks.loha": "loha", "networks.lokr": "lokr"}
"""Modules whose files have the keys that LyCORIS gives them."""

ARGUMENT_KEYS: Final = frozenset(key for kind in KINDS.values() for key in kind.keys)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_kind(value: object) -> tuple[str, NetworkKind] | str:
    """The kind that a `LoRA_type` names (nothing: "Standard"), or words why there is none."""
    name = said(value)
    if name is None or (isinstance(name, int | float) and as_number(name) == 0):
        return "Standard", KINDS["Standard"]
    plain = _plain(str(name))
    known = {_plain(kind): kind for kind in KINDS} | _OTHER_NAMES
    if plain in known:
        return known[plain], KINDS[known[plain]]
    if any(family in plain for family in _OTHER_MODELS):
        return f"LoRA_type {shown(name)} is for models that this program does not train"
    return f"LoRA_type {shown(name)} is not a kind of network that is known here"


def available(kind: NetworkKind, modules: tuple[str, ...]) -> tuple[NetworkKind, str] | None:
    """The kind as it can be trained with these modules, and words if another module does it; None
    if none can."""
    if kind.module in modules:
        return kind, ""
    algorithm = _SAME_KEYS_BY_LYCORIS.get(kind.module)
    if algorithm is not None and "lycoris.kohya" in modules:
        note = f"trained by LyCORIS, whose files have the same keys as those of {kind.module}"
        return NetworkKind("lycoris.kohya", kind.keys, algorithm), note
    return None


def network_entries(kind: NetworkKind, note: str, settings: Mapping[str, object]) -> list[Entry]:
    """The module and all arguments that the file gives it."""
    entries = [Entry("LoRA_type", "network_module", kind.module, note)]
    if kind.algorithm is not None:
        entries.append(Entry("LoRA_type", "algo", kind.algorithm, argument=True))
    for key in kind.keys:
        if key not in settings:
            continue
        note = ""
        if (newer := LOST_KEYS.get(key)) is not None:
            if said(settings.get(newer)) is not None:
                continue
            note = "kohya_ss itself no longer reads the old name"
        name = ARGUMENT_NAMES.get(key, key)
        if key == "unit" and kind.module == "lycoris.kohya":
            name = "block_size"
        entries.append(Entry(key, name, settings[key], note, argument=True))
    return entries
