"""What kind of model a set of tensor names and shapes is: rules, in the order they are tried."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sd_scripts.weights.checkpoint_keys import UNET_PREFIX, VAE_PREFIX
from sd_scripts.weights.headers import TensorInfo
from sd_scripts.weights.model_kinds import FamilyName

ModelKind = Literal["checkpoint", "diffusers", "lora", "vae", "embedding", "unknown"]
Tensors = Mapping[str, TensorInfo]

FAMILY_TITLES: Final[dict[FamilyName, str]] = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "SDXL",
}
FAMILY_OF_CONTEXT: Final[dict[int, FamilyName]] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
_UNET_INPUTS: Final = {
    9: "an inpainting model (its U-Net takes a mask and a masked picture as well)",
    5: "a depth model (its U-Net takes a depth map as well)",
    8: "an instruct-pix2pix model (its U-Net takes a second picture as well)",
}
_LORA_KEY: Final = re.compile(
    r"\.(lora_(up|down|mid|A|B)|lora\.(up|down))\b|\.(hada_w[12]|hada_t[12]|lokr_[wt][12])"
    r"|\.oft_blocks$|\.dora_scale$|^(lora|lycoris|oft)_(unet|te)|\.processor\.\w+_lora\."
)
# Other models people have in the same folders: a telling key, and what to call its owner.
_OTHERS: Final = (
    (r"(^|\.)double_blocks\.\d+\.", "a FLUX model"),
    (r"(^|\.)joint_blocks\.\d+\.|pos_embed_input", "a Stable Diffusion 3 model"),
    (r"^control_model\.|controlnet_cond_embedding|(^|\.)input_hint_block\.", "a ControlNet"),
    (r"^image_proj\.|^ip_adapter\.", "an IP-Adapter"),
    (r"motion_modules\.", "an AnimateDiff motion module"),
    (r"^model\.\d+\.(sub|weight)|^body\.\d+\.rdb|RDB\d", "an upscaler"),
    (r"^(down_blocks|input_blocks)\.\d+\.", "a U-Net alone, without its text encoder"),
    (r"^(diffusion_model)\.", "a U-Net alone, without its text encoder"),
    (r"(^|\.)(text_model\.encoder|transformer\.resblocks)\.", "a text encoder alone"),
)


@dataclass(frozen=True)
class Recognised:
    """The outcome: `what` names it in words; `unsupported` says that it cannot be trained on."""

    kind: ModelKind
    family: FamilyName | None
    what: str
    unsupported: bool = False


def unet_input_words(channels: int) -> str:
    """Name the kind of model whose U-Net takes that many channels (4 is an ordinary one)."""
    return _UNET_INPUTS.get(channels, f"a model whose U-Net takes {channels} channels, not 4")


def recognise(tensors: Tensors) -> Recognised:
    """Tell what a file's tensors make up."""
    if any(name.startswith(UNET_PREFIX) for name in tensors):
        return _checkpoint(tensors)
    if any(_LORA_KEY.search(name) for name in tensors):
        return Recognised("lora", _lora_family(tensors), "a LoRA or another network")
    if _is_embedding(tensors):
        family = _embedding_family(tensors)
        return Recognised("embedding", family, "a textual inversion embedding")
    if _is_vae(tensors):
        return Recognised("vae", None, "a VAE")
    for pattern, what in _OTHERS:
        if any(re.search(pattern, name) for name in tensors):
            return Recognised("unknown", None, what, unsupported=True)
    return Recognised("unknown", None, "none of the models known here", unsupported=True)


def _checkpoint(tensors: Tensors) -> Recognised:
    names = tensors.keys()

    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in names)

    if any(re.search(r"double_blocks|joint_blocks", name) for name in names):
        return Recognised("unknown", None, "a FLUX or Stable Diffusion 3 model", unsupported=True)
    if has("conditioner.embedders.1.model."):
        family: FamilyName = "sdxl"
    elif has("conditioner.embedders.0.model."):
        return Recognised("checkpoint", None, "the SDXL refiner", unsupported=True)
    elif has("cond_stage_model.model."):
        family = "sd2"
    elif has("cond_stage_model.transformer."):
        family = "sd1"
    else:
        what = "a U-Net without its text encoder"
        return Recognised("checkpoint", _unet_family(tensors), what, unsupported=True)
    first = tensors.get(f"{UNET_PREFIX}input_blocks.0.0.weight")
    channels = first.shape[1] if first is not None and len(first.shape) == 4 else 4
    if channels != 4:
        return Recognised("checkpoint", family, unet_input_words(channels), unsupported=True)
    return Recognised("checkpoint", family, f"{FAMILY_TITLES[family]}, a checkpoint file")


def _context_width(tensors: Tensors, pattern: str) -> int | None:
    for name, info in tensors.items():
        if re.search(pattern, name) and info.shape:
            return info.shape[-1] if len(info.shape) < 4 else info.shape[1]
    return None


def _unet_family(tensors: Tensors) -> FamilyName | None:
    width = _context_width(tensors, r"attn2\.to_k\.weight$")
    return FAMILY_OF_CONTEXT.get(width or 0)


def _lora_family(tensors: Tensors) -> FamilyName | None:
    """Tell a LoRA's family by its text encoders' names, or by the width its attention reads."""
    if any(re.match(r"(lora|lycoris|oft)_te2_|text_encoder_2\.", name) for name in tensors):
        return "sdxl"
    width = _context_width(tensors, r"attn2[_.]to_k\.(lora_down|lora_A|lora\.down)\b.*weight$")
    return FAMILY_OF_CONTEXT.get(width or 0)


def _is_embedding(tensors: Tensors) -> bool:
    names = set(tensors)
    return (
        "emb_params" in names
        or {"clip_l", "clip_g"} <= names
        or any(name.startswith("string_to_param.") for name in names)
    )


def _embedding_family(tensors: Tensors) -> FamilyName | None:
    if "clip_g" in tensors:
        return "sdxl"
    widths = [info.shape[-1] for info in tensors.values() if info.shape]
    families: dict[int, FamilyName] = {768: "sd1", 1024: "sd2"}
    return families.get(widths[0]) if widths else None


def _is_vae(tensors: Tensors) -> bool:
    plain = {name.removeprefix(VAE_PREFIX) for name in tensors}
    return {"encoder.conv_in.weight", "decoder.conv_in.weight"} <= plain
