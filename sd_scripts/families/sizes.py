"""The sizes of a single file's modules, read off its tensors' shapes over a base configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from sd_scripts.families.configs import Config, head_size
from sd_scripts.weights.checkpoint_keys import TextLayout

Shapes = Mapping[str, tuple[int, ...]]
# SD 2.x files carry all 24 of OpenCLIP's layers; its U-Net reads the last but one's output.
SD2_OPENCLIP_LAYERS: Final = 24


@dataclass
class _Level:
    """One resolution of a U-Net: its width and the transformer depth of each of its layers."""

    width: int
    depths: list[int]


def _number_of(names: Iterable[str], pattern: str) -> int:
    """Return one more than the highest number that `pattern` (one group) finds; 0 if none."""
    found = (re.match(pattern, name) for name in names)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _unet_levels(shapes: Shapes) -> list[_Level]:
    levels: list[_Level] = []
    fresh = True
    for number in count(1):
        block = f"input_blocks.{number}"
        if f"{block}.0.op.weight" in shapes:
            fresh = True
            continue
        conv = shapes.get(f"{block}.0.in_layers.2.weight")
        if conv is None:
            return levels
        depth = _number_of(shapes, rf"{re.escape(block)}\.1\.transformer_blocks\.(\d+)\.")
        if fresh:
            levels.append(_Level(conv[0], []))
            fresh = False
        levels[-1].depths.append(depth)
    return levels


def unet_config(base: Config, shapes: Shapes) -> Config:
    """Return the configuration of the U-Net whose tensors (LDM names, no prefix) have `shapes`.

    What shapes cannot tell (norm groups, SD 1.x's eight heads) is taken from `base`. A U-Net of
    another architecture gives a configuration that its tensors do not fit: loading tells.
    """
    levels = _unet_levels(shapes)
    if not levels:
        return dict(base)
    config = dict(base)
    attends = [any(level.depths) for level in levels]
    config["block_out_channels"] = [level.width for level in levels]
    config["layers_per_block"] = len(levels[0].depths)
    config["down_block_types"] = [
        "CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in attends
    ]
    config["up_block_types"] = [
        "CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(attends)
    ]
    depths = [max(level.depths[0], 1) for level in levels]
    if "transformer_layers_per_block" in base or any(depth > 1 for depth in depths):
        config["transformer_layers_per_block"] = depths
    if isinstance(base["attention_head_dim"], list):
        widths = config["block_out_channels"]
        config["attention_head_dim"] = [width // head_size(width) for width in widths]
    for name, shape in shapes.items():
        if name.endswith("attn2.to_k.weight"):
            config["cross_attention_dim"] = shape[1]
        elif name.endswith(".proj_in.weight"):
            config["use_linear_projection"] = len(shape) == 2
    if embedding := shapes.get("label_emb.0.0.weight"):
        config["projection_class_embeddings_input_dim"] = embedding[1]
    return config


def vae_config(base: Config, shapes: Shapes) -> Config:
    """Return the configuration of the VAE whose tensors (LDM names, no prefix) have `shapes`."""
    levels = _number_of(shapes, r"encoder\.down\.(\d+)\.")
    if not levels:
        return dict(base)
    widths = [shapes.get(f"encoder.down.{n}.block.0.conv1.weight", (0,))[0] for n in range(levels)]
    latent = shapes.get("decoder.conv_in.weight", (0, base["latent_channels"]))[1]
    return dict(base) | {
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": _number_of(shapes, r"encoder\.down\.0\.block\.(\d+)\."),
        "latent_channels": latent,
    }


def diffusers_vae_config(base: Config, shapes: Shapes) -> Config:
    """Return the configuration of a VAE file with diffusers names but no configuration beside."""
    levels = _number_of(shapes, r"encoder\.down_blocks\.(\d+)\.")
    layers = _number_of(shapes, r"encoder\.down_blocks\.0\.resnets\.(\d+)\.")
    first = "encoder.down_blocks.{}.resnets.0.conv1.weight"
    return dict(base) | {
        "block_out_channels": [shapes.get(first.format(n), (0,))[0] for n in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": layers,
        "latent_channels": shapes.get("decoder.conv_in.weight", (0, 4))[1],
    }


def text_config(base: Config, shapes: Shapes, layout: TextLayout) -> Config:
    """Return the configuration of a text encoder from its tensors (layout's names, no prefix)."""
    if layout == "openclip":
        embedding = shapes.get("token_embedding.weight")
        layers = _number_of(shapes, r"transformer\.resblocks\.(\d+)\.")
        inner = shapes.get("transformer.resblocks.0.mlp.c_fc.weight")
        projection = shapes.get("text_projection")
        without_last = base["architectures"] == ["CLIPTextModel"]
        layers -= 1 if without_last and layers == SD2_OPENCLIP_LAYERS else 0
        positions = shapes.get("positional_embedding")
    else:
        embedding = shapes.get("embeddings.token_embedding.weight")
        layers = _number_of(shapes, r"encoder\.layers\.(\d+)\.")
        inner = shapes.get("encoder.layers.0.mlp.fc1.weight")
        projection = None
        positions = shapes.get("embeddings.position_embedding.weight")
    config = dict(base)
    if embedding is None or inner is None or positions is None:
        return config
    vocabulary, width = embedding
    config |= {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner[0],
        "num_hidden_layers": layers,
        "num_attention_heads": width // head_size(width),
        "max_position_embeddings": positions[0],
    }
    if projection is not None and base["architectures"] == ["CLIPTextModelWithProjection"]:
        config["projection_dim"] = projection[1]
    return config
