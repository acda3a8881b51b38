"""Names of tensors in single-file checkpoints, given their diffusers or transformers names.

Every function maps one diffusers name to its place in the file, so the same rules read a file,
write one, and name SDXL's LoRA modules. Layouts: LDM v1 and v2, and SDXL's
(https://github.com/Stability-AI/generative-models).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

UNET_PREFIX: Final = "model.diffusion_model."
VAE_PREFIX: Final = "first_stage_model."
TextLayout = Literal["hf", "openclip"]

_RESNET_PARTS: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET_SINGLES: Final = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION: Final = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_OPENCLIP_PARTS: Final = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_OPENCLIP_SINGLES: Final = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


@dataclass(frozen=True)
class Source:
    """Where one tensor lies in a file.

    `third`: the tensor is that third (0, 1, 2: query, key, value) of a fused projection's rows.
    `transposed`: the file holds the transpose. `conv`: the file holds a linear layer as a 1x1
    convolution.
    """

    key: str
    third: int | None = None
    transposed: bool = False
    conv: bool = False


@dataclass(frozen=True)
class UNetLayout:
    """What the numbering of a U-Net's blocks depends on."""

    layers_per_block: int
    up_attention: tuple[bool, ...]

    @classmethod
    def of(cls, layers_per_block: int, up_block_types: Sequence[str]) -> UNetLayout:
        """Make a layout from a diffusers configuration's values."""
        return cls(layers_per_block, tuple("CrossAttn" in kind for kind in up_block_types))


def _split_block(name: str) -> tuple[str, int, str, int, str] | None:
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)(?:\.(.+))?", name)
    if match is None:
        return None
    side, block, kind, index, rest = match.groups()
    return side, int(block), kind, int(index), rest or ""


def _resnet_rest(rest: str) -> str:
    part, dot, tail = rest.partition(".")
    return _RESNET_PARTS.get(part, part) + dot + tail


def unet_key(name: str, layout: UNetLayout) -> str:
    """Return the LDM name (without prefix) of a U-Net's tensor or module, e.g. `conv_in.weight`."""
    for single, key in _UNET_SINGLES.items():
        if name == single or name.startswith(single + "."):
            return key + name.removeprefix(single)
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)(?:\.(.+))?", name):
        kind, index, rest = match.group(1), int(match.group(2)), match.group(3) or ""
        if kind == "resnets":
            return f"middle_block.{2 * index}.{_resnet_rest(rest)}".rstrip(".")
        return f"middle_block.{2 * index + 1}.{rest}".rstrip(".")
    block = _split_block(name)
    assert block is not None, f"no such part of a U-Net: {name}"
    return _unet_block_key(*block, layout).rstrip(".")


def _unet_block_key(
    side: str, block: int, kind: str, index: int, rest: str, layout: UNetLayout
) -> str:
    per_block = layout.layers_per_block + 1
    number = per_block * block + index + (1 if side == "down" else 0)
    group = "input_blocks" if side == "down" else "output_blocks"
    if kind == "resnets":
        return f"{group}.{number}.0.{_resnet_rest(rest)}"
    if kind == "attentions":
        return f"{group}.{number}.1.{rest}"
    if kind == "downsamplers":
        return f"{group}.{per_block * (block + 1)}.0.op{rest.removeprefix('conv')}"
    assert kind == "upsamplers", f"no such part of a U-Net block: {kind}"
    place = 2 if layout.up_attention[block] else 1
    return f"{group}.{per_block * (block + 1) - 1}.{place}.{rest}"


def vae_source(name: str, num_levels: int) -> Source:
    """Return where a VAE's tensor lies, without prefix; `num_levels` is its number of blocks."""
    key = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.attentions\.0\.(.+)\.(\w+)", key):
        side, part, kind = match.groups()
        conv = part != "group_norm" and kind == "weight"
        return Source(f"{side}.mid.attn_1.{_VAE_ATTENTION[part]}.{kind}", conv=conv)
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.resnets\.(\d+)\.(.+)", key):
        return Source(f"{match[1]}.mid.block_{int(match[2]) + 1}.{match[3]}")
    if match := re.fullmatch(r"encoder\.down_blocks\.(\d+)\.(resnets|downsamplers)\.(.+)", key):
        return Source(f"encoder.down.{match[1]}.{_vae_block_rest(match[2], match[3])}")
    if match := re.fullmatch(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(.+)", key):
        level = num_levels - 1 - int(match[1])
        return Source(f"decoder.up.{level}.{_vae_block_rest(match[2], match[3])}")
    return Source(key)


def _vae_block_rest(kind: str, rest: str) -> str:
    if kind == "resnets":
        return f"block.{rest}"
    sampler = "downsample" if kind == "downsamplers" else "upsample"
    return f"{sampler}.{rest.partition('.')[2]}"


def openclip_source(name: str) -> Source:
    """Return where a text encoder's tensor lies in OpenCLIP's layout, without prefix.

    `name` is without `text_model.`. OpenCLIP multiplies by `text_projection` from the right
    (`x @ P`), a linear layer stores the transpose of that.
    """
    if name == "text_projection.weight":
        return Source("text_projection", transposed=True)
    if key := _OPENCLIP_SINGLES.get(name):
        return Source(key)
    match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    assert match is not None, f"no such part of a text encoder: {name}"
    layer, part, kind = match.groups()
    block = f"transformer.resblocks.{layer}."
    if part in _OPENCLIP_PARTS:
        return Source(f"{block}{_OPENCLIP_PARTS[part]}.{kind}")
    thirds = {"self_attn.q_proj": 0, "self_attn.k_proj": 1, "self_attn.v_proj": 2}
    return Source(f"{block}attn.in_proj_{kind}", third=thirds[part])


def text_source(name: str, layout: TextLayout) -> Source:
    """Return where a text encoder's tensor lies, without prefix; `name` without `text_model.`."""
    if layout == "openclip":
        return openclip_source(name)
    return Source(name if name.startswith("text_projection") else f"text_model.{name}")


@dataclass(frozen=True)
class TextPlace:
    """Where a text encoder lies in a single file."""

    prefix: str
    layout: TextLayout


TEXT_PLACES: Final[dict[str, tuple[TextPlace, ...]]] = {
    "sd1": (TextPlace("cond_stage_model.transformer.", "hf"),),
    "sd2": (TextPlace("cond_stage_model.model.", "openclip"),),
    "sdxl": (
        TextPlace("conditioner.embedders.0.transformer.", "hf"),
        TextPlace("conditioner.embedders.1.model.", "openclip"),
    ),
}
