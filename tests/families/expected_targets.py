"""Names and paths of LoRA targets, written out from the published patterns alone.

Each entry is (kohya name, diffusers path, whether it is of the convolution group).
"""

from __future__ import annotations

from collections.abc import Iterator

Entry = tuple[str, str, bool]
_ATTENTION = [
    f"attn{number}.{part}" for number in (1, 2) for part in ("to_q", "to_k", "to_v", "to_out.0")
]
_FEED_FORWARD = ["ff.net.0.proj", "ff.net.2"]


def text_encoder(prefix: str, layers: int) -> Iterator[Entry]:
    parts = [f"self_attn.{name}_proj" for name in "qkv"] + ["self_attn.out_proj"]
    for layer in range(layers):
        for part in [*parts, "mlp.fc1", "mlp.fc2"]:
            path = f"encoder.layers.{layer}.{part}"
            yield f"{prefix}_text_model_{path.replace('.', '_')}", path, False


def _transformer(name: str, path: str, depth: int) -> Iterator[Entry]:
    inner = [
        f"transformer_blocks.{k}.{p}" for k in range(depth) for p in _ATTENTION + _FEED_FORWARD
    ]
    for part in ["proj_in", *inner, "proj_out"]:
        yield f"lora_unet_{name}_{part.replace('.', '_')}", f"{path}.{part}", False


def sd_unet() -> Iterator[Entry]:
    """SD 1.x and SD 2.x: diffusers' own names; attention at all levels but the deepest."""

    def same(path: str, parts: list[str]) -> Iterator[Entry]:
        for part in parts:
            yield f"lora_unet_{path}.{part}".replace(".", "_"), f"{path}.{part}", True

    resnet = ["conv1", "time_emb_proj", "conv2"]
    for level in range(4):
        for layer in (0, 1):
            path = f"down_blocks.{level}"
            if level < 3:
                name = f"{path}.attentions.{layer}"
                yield from _transformer(name.replace(".", "_"), name, 1)
            shortcut = ["conv_shortcut"] if level in (1, 2) and layer == 0 else []
            yield from same(f"{path}.resnets.{layer}", resnet + shortcut)
        if level < 3:
            yield from same(f"down_blocks.{level}.downsamplers.0", ["conv"])
            yield from same(f"up_blocks.{level}.upsamplers.0", ["conv"])
        for layer in range(3):
            path = f"up_blocks.{level}"
            if level > 0:
                name = f"{path}.attentions.{layer}"
                yield from _transformer(name.replace(".", "_"), name, 1)
            yield from same(f"{path}.resnets.{layer}", [*resnet, "conv_shortcut"])
    yield from _transformer("mid_block_attentions_0", "mid_block.attentions.0", 1)
    for layer in (0, 1):
        yield from same(f"mid_block.resnets.{layer}", resnet)


def sdxl_unet() -> Iterator[Entry]:
    """SDXL: names of the published checkpoint (input_blocks and so on) for diffusers' paths."""

    def resnet(name: str, path: str, shortcut: bool) -> Iterator[Entry]:
        parts = {"in_layers_2": "conv1", "emb_layers_1": "time_emb_proj", "out_layers_3": "conv2"}
        if shortcut:
            parts["skip_connection"] = "conv_shortcut"
        for theirs, ours in parts.items():
            yield f"lora_unet_{name}_0_{theirs}", f"{path}.{ours}", True

    places = {4: "1.{}.0", 5: "1.{}.1", 7: "2.{}.0", 8: "2.{}.1", 1: "0.{}.0", 2: "0.{}.1"}
    for number, place in places.items():
        path = f"down_blocks.{place}"
        if number > 2:
            depth = 2 if number < 6 else 10
            yield from _transformer(f"input_blocks_{number}_1", path.format("attentions"), depth)
        yield from resnet(f"input_blocks_{number}", path.format("resnets"), number in (4, 7))
    for number, level in ((3, 0), (6, 1)):
        path = f"down_blocks.{level}.downsamplers.0.conv"
        yield f"lora_unet_input_blocks_{number}_0_op", path, True
    yield from _transformer("middle_block_1", "mid_block.attentions.0", 10)
    for number, layer in ((0, 0), (2, 1)):
        path = f"mid_block.resnets.{layer}"
        for theirs, ours in (
            ("in_layers_2", "conv1"),
            ("emb_layers_1", "time_emb_proj"),
            ("out_layers_3", "conv2"),
        ):
            yield f"lora_unet_middle_block_{number}_{theirs}", f"{path}.{ours}", True
    for number in range(9):
        level, layer = divmod(number, 3)
        path = f"up_blocks.{level}.{{}}.{layer}"
        if level < 2:
            depth = 10 if level == 0 else 2
            yield from _transformer(f"output_blocks_{number}_1", path.format("attentions"), depth)
        yield from resnet(f"output_blocks_{number}", path.format("resnets"), True)
    for number, level in ((2, 0), (5, 1)):
        path = f"up_blocks.{level}.upsamplers.0.conv"
        yield f"lora_unet_output_blocks_{number}_2_conv", path, True
