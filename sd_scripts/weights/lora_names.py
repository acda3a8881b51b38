"""Names of LoRA modules: between diffusers' and Stability's U-Net names, and from other writers.

A kohya name is a prefix (`lora_unet`, `lora_te`, `lora_te1`, `lora_te2`), an underscore and the
module's path with dots made underscores. For the U-Net two conventions of paths are in use:
diffusers' (`down_blocks_1_attentions_0_…`, which SD 1.x and SD 2.x files have) and Stability's
(`input_blocks_4_1_…`, which SDXL files have). Files of the other convention are met for every
family, as are files written by diffusers and peft, with dots and `lora_A`/`lora_B`.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from sd_scripts.weights.model_kinds import FamilyName

Part = Literal["down", "up", "alpha", "dora"]

UNET_PREFIX: Final = "lora_unet_"

_RESNET_PARTS: Final = {
    "conv1": "in_layers_2",
    "time_emb_proj": "emb_layers_1",
    "conv2": "out_layers_3",
    "conv_shortcut": "skip_connection",
    "norm1": "in_layers_0",
    "norm2": "out_layers_0",
}
_RESNET_PARTS_BACK: Final = {theirs: ours for ours, theirs in _RESNET_PARTS.items()}

_DOWN = re.compile(r"down_blocks_(\d+)_(resnets|attentions|downsamplers)_(\d+)_(.+)")
_MID = re.compile(r"mid_block_(resnets|attentions)_(\d+)_(.+)")
_UP = re.compile(r"up_blocks_(\d+)_(resnets|attentions|upsamplers)_(\d+)_(.+)")
_INPUT = re.compile(r"input_blocks_(\d+)_(\d)_(.+)")
_MIDDLE = re.compile(r"middle_block_(\d)_(.+)")
_OUTPUT = re.compile(r"output_blocks_(\d+)_(\d)_(.+)")


def _down_to_sai(block: int, kind: str, index: int, rest: str) -> str | None:
    if kind == "downsamplers":
        return f"input_blocks_{3 * (block + 1)}_0_op" if (index, rest) == (0, "conv") else None
    number = 3 * block + index + 1
    if kind == "attentions":
        return f"input_blocks_{number}_1_{rest}"
    part = _RESNET_PARTS.get(rest)
    return f"input_blocks_{number}_0_{part}" if part else None


def _up_to_sai(block: int, kind: str, index: int, rest: str, family: FamilyName) -> str | None:
    if kind == "upsamplers":
        # SD's first up block has no attention, so its upsampler stands one place earlier.
        place = 1 if block == 0 and family != "sdxl" else 2
        return f"output_blocks_{3 * block + 2}_{place}_conv" if rest == "conv" else None
    number = 3 * block + index
    if kind == "attentions":
        return f"output_blocks_{number}_1_{rest}"
    part = _RESNET_PARTS.get(rest)
    return f"output_blocks_{number}_0_{part}" if part else None


def _path_to_sai(path: str, family: FamilyName) -> str | None:
    if found := _DOWN.fullmatch(path):
        block, kind, index, rest = found.groups()
        return _down_to_sai(int(block), kind, int(index), rest)
    if found := _UP.fullmatch(path):
        block, kind, index, rest = found.groups()
        return _up_to_sai(int(block), kind, int(index), rest, family)
    if found := _MID.fullmatch(path):
        kind, index, rest = found.groups()
        if kind == "attentions":
            return f"middle_block_1_{rest}"
        part = _RESNET_PARTS.get(rest)
        return f"middle_block_{2 * int(index)}_{part}" if part else None
    return None


def _path_to_diffusers(path: str) -> str | None:
    if found := _INPUT.fullmatch(path):
        number, place, rest = int(found[1]) - 1, found[2], found[3]
        block, index = divmod(number, 3)
        if index == 2:
            return f"down_blocks_{block}_downsamplers_0_conv" if rest == "op" else None
        return _block_path(f"down_blocks_{block}", index, place, rest)
    if found := _OUTPUT.fullmatch(path):
        block, index = divmod(int(found[1]), 3)
        if found[3] == "conv":
            return f"up_blocks_{block}_upsamplers_0_conv"
        return _block_path(f"up_blocks_{block}", index, found[2], found[3])
    if found := _MIDDLE.fullmatch(path):
        place, rest = int(found[1]), found[2]
        if place == 1:
            return f"mid_block_attentions_0_{rest}"
        part = _RESNET_PARTS_BACK.get(rest)
        return f"mid_block_resnets_{place // 2}_{part}" if part else None
    return None


def _block_path(block: str, index: int, place: str, rest: str) -> str | None:
    if place == "1":
        return f"{block}_attentions_{index}_{rest}"
    part = _RESNET_PARTS_BACK.get(rest)
    return f"{block}_resnets_{index}_{part}" if part else None


def to_sai(name: str, family: FamilyName = "sdxl") -> str:
    """Return a kohya U-Net name with Stability's path; other names come back as they are."""
    if not name.startswith(UNET_PREFIX):
        return name
    path = _path_to_sai(name.removeprefix(UNET_PREFIX), family)
    return name if path is None else UNET_PREFIX + path


def to_diffusers(name: str) -> str:
    """Return a kohya U-Net name with diffusers' path; other names come back as they are."""
    if not name.startswith(UNET_PREFIX):
        return name
    path = _path_to_diffusers(name.removeprefix(UNET_PREFIX))
    return name if path is None else UNET_PREFIX + path


def own_name(name: str, family: FamilyName) -> str:
    """Return a kohya name as this family's files have it: Stability's for SDXL, else diffusers'."""
    return to_sai(name, family) if family == "sdxl" else to_diffusers(name)


class TensorName(NamedTuple):
    """Which module a tensor of a LoRA file belongs to (kohya name), and which part of it it is."""

    module: str
    part: Part


_SUFFIXES: Final[tuple[tuple[str, Part], ...]] = (
    (".lora_down.weight", "down"),
    (".lora_up.weight", "up"),
    (".alpha", "alpha"),
    (".dora_scale", "dora"),
    (".lora_magnitude_vector.weight", "dora"),
    (".lora_magnitude_vector", "dora"),
    (".lora_A.default.weight", "down"),
    (".lora_B.default.weight", "up"),
    (".lora_A.weight", "down"),
    (".lora_B.weight", "up"),
    (".lora_linear_layer.down.weight", "down"),
    (".lora_linear_layer.up.weight", "up"),
    (".lora.down.weight", "down"),
    (".lora.up.weight", "up"),
    ("_lora.down.weight", "down"),
    ("_lora.up.weight", "up"),
)
_ROOTS: Final = ("unet", "text_encoder_2", "text_encoder", "te2", "te1", "te")


def read_name(key: str, family: FamilyName) -> TensorName | None:
    """Return what a key of a LoRA file means, whoever wrote it; None if it is no LoRA tensor."""
    for suffix, part in _SUFFIXES:
        if key.endswith(suffix):
            module = _kohya_name(key.removesuffix(suffix), family)
            return None if module is None else TensorName(own_name(module, family), part)
    return None


def _kohya_name(module: str, family: FamilyName) -> str | None:
    if module.startswith("lora_"):
        return None if "." in module else module
    module = module.removeprefix("base_model.model.")
    for root in _ROOTS:
        if module.startswith(f"{root}."):
            path = module.removeprefix(f"{root}.").removeprefix("base_model.model.")
            break
    else:
        return None
    path = path.replace(".processor.", ".")
    path = re.sub(r"\.to_out$", ".to_out.0", path)
    if root == "unet":
        return UNET_PREFIX + path.replace(".", "_")
    if not path.startswith("text_model."):  # transformers 5 no longer nests CLIP's text model
        path = f"text_model.{path}"
    second = root in ("text_encoder_2", "te2")
    prefix = ("lora_te2_" if second else "lora_te1_") if family == "sdxl" else "lora_te_"
    return prefix + path.replace(".", "_")
