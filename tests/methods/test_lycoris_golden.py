"""LyCORIS keys, shapes and layers of real-size models, against what is published of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sd_scripts.errors import UserError
from sd_scripts.methods.lycoris_layers import LycorisShape
from sd_scripts.methods.lycoris_library import make_layer
from sd_scripts.methods.lycoris_plan import plan_lycoris
from sd_scripts.methods.lycoris_presets import PRESETS, find_preset
from sd_scripts.options import network_table
from tests.methods.jobs import network_job
from tests.methods.test_network_golden import GOLDEN, golden, real_model

PARTS = (GOLDEN / "lycoris_parts.txt").read_text().splitlines()
EXTRA_SD = {
    "lora_unet_conv_in",
    "lora_unet_conv_out",
    "lora_unet_time_embedding_linear_1",
    "lora_unet_time_embedding_linear_2",
}


def sizes(text: str) -> list[int]:
    return [int(side) for side in text.split("x")] if text else []


@pytest.mark.parametrize("line", PARTS)
def test_tensors_of_a_module(line: str) -> None:
    algo, rank, base, *words = line.split()
    parts = dict(word.split("=") for word in words if _is_part(word))
    settings = [word for word in words if not _is_part(word)]
    shape: dict[str, Any] = {"algo": algo, "rank": int(rank.removeprefix("rank="))}
    for word in settings:
        name, _, value = word.partition("=")
        shape[name] = int(value) if value else True
    rows, columns = shape.pop("dora", False), shape.pop("dora_columns", False)
    lengths = "rows" if rows else "columns" if columns else None
    out, into, *kernel = sizes(base.removeprefix("base="))
    with torch.device("meta"):
        module = nn.Conv2d(into, out, kernel[0]) if kernel else nn.Linear(into, out)
    layer = make_layer("a", module, LycorisShape(alpha=1.0, dora=lengths, **shape), seed=0)  # type: ignore[arg-type]
    found = {key: list(tensor.shape) for key, tensor in layer.file_tensors().items()}
    assert found == {key: sizes(text) for key, text in parts.items()}


def _is_part(word: str) -> bool:
    return "=" in word and not word.startswith("factor=")


def chosen(family: Any, preset: str) -> set[str]:
    """Names of the layers that a preset chooses, norms aside."""
    model = real_model(family)
    found = find_preset(preset)
    names = set()
    for layer in model.family.network_layers(model):
        spatial = isinstance(layer.module, nn.Conv2d) and layer.module.kernel_size != (1, 1)
        norm = isinstance(layer.module, nn.GroupNorm | nn.LayerNorm)
        if found.settings_of(layer) is not None and not norm and (found.enable_conv or not spatial):
            names.add(layer.name)
    return names


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_layers_of_the_presets(family: Any) -> None:
    extra = set() if family == "sdxl" else EXTRA_SD
    everything, plain = set(golden(family, conv=True)), set(golden(family, conv=False))
    unet = {name for name in plain if name.startswith("lora_unet_")}
    attention = {name for name in plain if "_attn1_" in name or "_attn2_" in name}
    attention |= {name for name in plain if "_self_attn_" in name}
    time = {name for name in extra if "time_embedding" in name}
    resnets = {
        name
        for name in everything - plain
        if name.endswith(("time_emb_proj", "emb_layers_1", "conv_shortcut", "skip_connection"))
    }
    assert chosen(family, "full") == everything | extra
    assert chosen(family, "attn-mlp") == plain
    assert chosen(family, "attn-only") == attention
    assert chosen(family, "full-lin") == plain | resnets | time
    assert chosen(family, "unet-only") == {
        name for name in everything | extra if name.startswith("lora_unet_")
    }
    assert chosen(family, "unet-transformer-only") == unet
    assert chosen(family, "unet-convblock-only") == (everything - plain) | (extra - time)
    ends = ("_to_k", "_to_v", "_ff_net_2", "_k_proj", "_v_proj", "_mlp_fc2")
    assert chosen(family, "ia3") == {name for name in plain if name.endswith(ends)}


def test_preset_names_are_those_of_the_options() -> None:
    assert tuple(PRESETS) == network_table.PRESETS


def test_norms_have_the_names_that_are_published() -> None:
    for family, names in (
        (
            "sd1",
            {"lora_unet_down_blocks_0_attentions_0_norm", "lora_unet_mid_block_resnets_0_norm1"},
        ),
        ("sdxl", {"lora_unet_input_blocks_4_1_norm", "lora_unet_middle_block_0_in_layers_0"}),
    ):
        model = real_model(family)  # type: ignore[arg-type]
        preset = find_preset("full")
        norms = {
            layer.name
            for layer in model.family.network_layers(model)
            if isinstance(layer.module, nn.GroupNorm | nn.LayerNorm)
            and preset.settings_of(layer) is not None
        }
        assert names <= norms
        assert not any(name.startswith("lora_te") for name in norms)


def test_preset_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'unet_target_module = ["CrossAttention"]\nunet_target_name = ["conv_in"]\n'
        "text_encoder_target_module = []\nenable_conv = false\n"
        '[module_algo_map.CrossAttention]\nalgo = "lokr"\nfactor = 4\n'
        '[name_algo_map.conv_in]\nalgo = "full"\ndim = 1\n'
    )
    model = real_model("sd1")
    job = network_job(network_module="lycoris.kohya", preset=str(path), network_dim=4)
    plan = plan_lycoris(job, model)
    kinds = {found.layer.name: tuple(found.layer.file_tensors()) for found in plan.layers}
    assert kinds.pop("lora_unet_conv_in") == ("diff", "diff_b")
    assert len(kinds) == 128
    assert all("_attn" in name and "lokr_w1" in parts for name, parts in kinds.items())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("unet_target_modules = []", "unet_target_modules is unknown"),
        ('enable_conv = "yes"', "neither true nor false"),
        ("[module_algo_map.Attention]\nfaktor = 2", "faktor is unknown"),
        ('[name_algo_map.a]\nalgo = "lora2"', "there is no algo lora2"),
        ('unet_target_name = ["(" ]', "is no pattern"),
        ("= 3", "cannot be read"),
    ],
)
def test_a_preset_that_is_wrong_is_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(UserError, match=told):
        find_preset(str(tmp_path / "a.toml"))
