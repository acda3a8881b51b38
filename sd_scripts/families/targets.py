"""The layers that networks attach to, under the names that LoRA files have for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from torch import nn

from sd_scripts.families.base import NamedLayer, Target
from sd_scripts.weights.checkpoint_keys import UNetLayout, unet_key
from sd_scripts.weights.model_kinds import Owner

# diffusers' and transformers' classes whose linear and convolution layers are targets.
_ATTENTION_BLOCK: Final = "Transformer2DModel"
_CONV_BLOCKS: Final = frozenset(("ResnetBlock2D", "Downsample2D", "Upsample2D"))
_TEXT_BLOCKS: Final = frozenset(("CLIPAttention", "CLIPMLP"))
_LAYERS: Final = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)


def _layers(
    root: nn.Module, classes: frozenset[str]
) -> Iterator[tuple[str, str, nn.Linear | nn.Conv2d]]:
    """Yield (class of the enclosing block, path, layer) for layers under blocks of `classes`."""
    for block_path, block in root.named_modules():
        kind = type(block).__name__
        if kind not in classes:
            continue
        for path, layer in block.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                yield kind, f"{block_path}.{path}", layer


def text_encoder_targets(encoder: nn.Module, owner: Owner, prefix: str) -> list[Target]:
    """Return a text encoder's targets; `prefix` is `lora_te`, `lora_te1` or `lora_te2`.

    Names always have `text_model`, whether or not the module itself is nested that way.
    """
    return [
        Target(
            name=f"{prefix}_text_model_{path.removeprefix('text_model.').replace('.', '_')}",
            owner=owner,
            path=path,
            module=layer,
            is_conv3x3_group=False,
        )
        for _, path, layer in _layers(encoder, _TEXT_BLOCKS)
    ]


def unet_targets(unet: nn.Module, layout: UNetLayout | None) -> list[Target]:
    """Return a U-Net's targets, from its input to its output.

    With a `layout`, names are those of the checkpoint (`input_blocks_…`, for SDXL); without,
    diffusers' own (`down_blocks_…`, for SD 1.x and SD 2.x).
    """
    targets = []
    for kind, path, layer in _layers(unet, _CONV_BLOCKS | {_ATTENTION_BLOCK}):
        named = path if layout is None else unet_key(path, layout)
        targets.append(
            Target(
                name=f"lora_unet_{named.replace('.', '_')}",
                owner="unet",
                path=path,
                module=layer,
                is_conv3x3_group=kind in _CONV_BLOCKS,
            )
        )
    sides = ("down_blocks", "mid_block", "up_blocks")
    return sorted(targets, key=lambda target: _side(target.path, sides))


def text_encoder_layers(encoder: nn.Module, owner: Owner, prefix: str) -> list[NamedLayer]:
    """Return every layer of a text encoder, named as in `text_encoder_targets`."""
    return [
        _named(prefix, owner, f"text_model.{path.removeprefix('text_model.')}", module, within)
        for path, module, within in _all_layers(encoder)
    ]


def unet_layers(unet: nn.Module, layout: UNetLayout | None) -> list[NamedLayer]:
    """Return every layer of a U-Net in the order of its modules, named as in `unet_targets`."""
    return [
        _named(
            "lora_unet",
            "unet",
            path if layout is None else unet_key(path, layout),
            module,
            within,
        )
        for path, module, within in _all_layers(unet)
    ]


def _named(
    prefix: str, owner: Owner, path: str, module: nn.Module, within: tuple[str, ...]
) -> NamedLayer:
    return NamedLayer(f"{prefix}_{path.replace('.', '_')}", owner, path, module, within)


def _all_layers(root: nn.Module) -> Iterator[tuple[str, nn.Module, tuple[str, ...]]]:
    """Yield path, module and the classes around it for every linear, convolution and norm."""
    modules = dict(root.named_modules())
    for path, module in modules.items():
        kind = next((kind for kind in _LAYERS if isinstance(module, kind)), None)
        if kind is not None:
            parts = path.split(".")
            above = (modules[".".join(parts[:count])] for count in range(1, len(parts)))
            # A layer's own class may be one that stores its weight otherwise.
            yield path, module, (*(type(found).__name__ for found in above), kind.__name__)


def _side(path: str, sides: Sequence[str]) -> int:
    return sides.index(path.partition(".")[0])
