"""LyCORIS presets: which layers learn, by the classes around them or by their paths.

The presets by name choose what LyCORIS' own choose under sd-scripts, whose U-Net has other class
names than diffusers': there, `CrossAttention` is what is `Attention` here. A preset's file is
LyCORIS' TOML. Paths are sd-scripts' (for SDXL `input_blocks.…`).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, get_args

from torch import nn

from sd_scripts.errors import Problem, UserError
from sd_scripts.files import parse_toml
from sd_scripts.methods.lycoris_layers import LycorisShape
from sd_scripts.options.explain import did_you_mean
from sd_scripts.options.network_table import Algorithm
from sd_scripts.weights.model_kinds import Owner

_TRANSFORMER: Final = ("Transformer2DModel",)
_CONVS: Final = ("ResnetBlock2D", "Downsample2D", "Upsample2D")
_TEXT: Final = ("CLIPAttention", "CLIPMLP")
_TIME: Final = ("time_embedding.linear_1", "time_embedding.linear_2")
_OTHER_CLASS_NAMES: Final = {
    "CrossAttention": "Attention",
    "SelfAttention": "Attention",
    "CLIPSdpaAttention": "CLIPAttention",
}


class Layer(Protocol):
    """A linear, convolution or norm layer of the model (see `families.base.NamedLayer`)."""

    @property
    def name(self) -> str: ...
    @property
    def owner(self) -> Owner: ...
    @property
    def path(self) -> str: ...
    @property
    def module(self) -> nn.Module: ...
    @property
    def within(self) -> tuple[str, ...]: ...


Overrides = Mapping[str, Any]


@dataclass(frozen=True)
class Preset:
    """Which layers learn: under modules of these classes, or with paths like these names.

    `class_settings` and `name_settings` are other settings (LyCORIS' arguments, `algo`, `dim`,
    `alpha`) for some classes and names. Without `enable_conv`, convolutions larger than 1x1 are
    left out unless such a setting gives them a `dim`.
    """

    unet_classes: tuple[str, ...] = ()
    unet_names: tuple[str, ...] = ()
    text_classes: tuple[str, ...] = _TEXT
    text_names: tuple[str, ...] = ()
    enable_conv: bool = False
    wildcards: bool = False
    class_settings: Mapping[str, Overrides] = field(default_factory=dict)
    name_settings: Mapping[str, Overrides] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()

    def settings_of(self, layer: Layer) -> Overrides | None:
        """Return what is set for one layer (often nothing); None if it does not learn."""
        if self._like(layer.path, self.excluded):
            return None
        unet = layer.owner == "unet"
        names = self.unet_names if unet else self.text_names
        if self._like(layer.path, names):
            for name, settings in self.name_settings.items():
                if self._like(layer.path, (name,)):
                    return settings
            return self.class_settings.get(layer.within[-1], {})
        classes = self.unet_classes if unet else self.text_classes
        around = [kind for kind in layer.within if kind in classes]
        if not around:
            return None
        inner = layer.within[layer.within.index(around[0]) :]
        for kind in reversed(inner):
            if kind in self.class_settings:
                return self.class_settings[kind]
        return {}

    def _like(self, path: str, names: Sequence[str]) -> bool:
        if self.wildcards:
            return any(fnmatch.fnmatchcase(path, name) for name in names)
        return any(path == name or re.match(name, path) for name in names)


_FULL: Final = Preset((*_TRANSFORMER, *_CONVS), ("conv_in$", "conv_out$", *_TIME), enable_conv=True)
_ON_INPUT: Final = {"train_on_input": True}
PRESETS: Final[Mapping[str, Preset]] = {
    "full": _FULL,
    "full-lin": Preset((*_TRANSFORMER, "ResnetBlock2D"), _TIME),
    "attn-mlp": Preset(_TRANSFORMER),
    "attn-only": Preset(("Attention",), text_classes=("CLIPAttention",)),
    "unet-only": replace(_FULL, text_classes=()),
    "unet-transformer-only": Preset(_TRANSFORMER, text_classes=()),
    "unet-convblock-only": Preset(
        _CONVS, ("conv_in$", "conv_out$"), text_classes=(), enable_conv=True
    ),
    "ia3": Preset(
        unet_names=("*.to_k", "*.to_v", "*.ff.net.2"),
        text_classes=(),
        text_names=("*.k_proj", "*.v_proj", "*.mlp.fc2"),
        wildcards=True,
        name_settings={"*.ff.net.2": _ON_INPUT, "*.mlp.fc2": _ON_INPUT},
    ),
}

_SETTINGS: Final[Mapping[str, type]] = {
    "algo": str,
    "dim": int,
    "alpha": float,
    "use_tucker": bool,
    "use_scalar": bool,
    "rs_lora": bool,
    "factor": int,
    "decompose_both": bool,
    "full_matrix": bool,
    "unbalanced_factorization": bool,
    "block_size": int,
    "constraint": float,
    "rescaled": bool,
    "train_on_input": bool,
    "weight_decompose": bool,
    "wd_on_out": bool,
    "bypass_mode": bool,
}
_LISTS: Final = {
    "unet_target_module": "unet_classes",
    "unet_target_name": "unet_names",
    "text_encoder_target_module": "text_classes",
    "text_encoder_target_name": "text_names",
    "exclude_name": "excluded",
}
_MAPS: Final = {"module_algo_map": "class_settings", "name_algo_map": "name_settings"}
_FLAGS: Final = {"enable_conv": "enable_conv", "use_fnmatch": "wildcards"}


def find_preset(name: str) -> Preset:
    """Return a preset by name, or of a TOML file. Raises `UserError` with all that is wrong."""
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    try:
        content = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"The preset {path.name} cannot be read: {error}",
            option="preset",
            hint=f"Choose {', '.join(PRESETS)}, or a .toml file of LyCORIS.",
        ) from error
    problems = list(_preset_problems(content))
    if problems:
        raise UserError.of(
            [Problem(f"{path.name}: {text}", "preset", hint) for text, hint in problems]
        )
    return _read_preset(content)


def _preset_problems(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = [*_LISTS, *_MAPS, *_FLAGS]
    for key, value in content.items():
        if key not in known:
            yield f"{key} is unknown", did_you_mean(key, known, f"it may have {', '.join(known)}")
        elif key in _LISTS and not _is_texts(value):
            yield f"{key} is no list of texts", f'write {key} = ["name"]'
        elif key in _LISTS and (bad := _bad_pattern(value, content)):
            yield f"{key}: {bad!r} is no pattern", "write a regular expression, or set use_fnmatch"
        elif key in _FLAGS and not isinstance(value, bool):
            yield f"{key} is neither true nor false", f"write {key} = true"
        elif key in _MAPS:
            if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
                yield f"{key} is no table of tables", f"write [{key}.Name]"
                continue
            for settings in value.values():
                yield from _setting_problems(settings)


def _setting_problems(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        kind = _SETTINGS.get(key)
        if kind is None:
            known = list(_SETTINGS)
            yield f"{key} is unknown", did_you_mean(key, known, f"known are {', '.join(known)}")
        elif not isinstance(value, (kind, int) if kind is float else kind) or (
            isinstance(value, bool) and kind is not bool
        ):
            yield f"{key} = {value!r} is no {kind.__name__}", "correct it"
        elif key == "algo" and value not in get_args(Algorithm):
            algorithms = get_args(Algorithm)
            yield (
                f"there is no algo {value}",
                did_you_mean(str(value), algorithms, "choose another"),
            )


def _bad_pattern(patterns: Sequence[str], content: Mapping[str, Any]) -> str | None:
    if content.get("use_fnmatch") is True:
        return None
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error:
            return pattern
    return None


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _read_preset(content: Mapping[str, Any]) -> Preset:
    """Settings that a file leaves out are those of the preset "full", as in LyCORIS."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key in _LISTS:
            values[_LISTS[key]] = tuple(_OTHER_CLASS_NAMES.get(item, item) for item in value)
        elif key == "module_algo_map":
            values[_MAPS[key]] = {_OTHER_CLASS_NAMES.get(k, k): v for k, v in value.items()}
        elif key in _MAPS:
            values[_MAPS[key]] = value
        else:
            values[_FLAGS[key]] = value
    return replace(_FULL, **values)


def with_settings(shape: LycorisShape, settings: Overrides) -> LycorisShape:
    """Return a layer's settings with those of its class or name put in."""
    if not settings:
        return shape
    own = {
        key: value
        for key, value in settings.items()
        if key not in ("dim", "weight_decompose", "wd_on_out", "bypass_mode")
    }
    if "dim" in settings:
        own["rank"] = settings["dim"]
    if "weight_decompose" in settings:
        rows = settings.get("wd_on_out", True)
        own["dora"] = ("rows" if rows else "columns") if settings["weight_decompose"] else None
    return replace(shape, **own)
