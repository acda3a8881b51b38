"""The layers networks attach to: names, paths and counts as other programs have them."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from sd_scripts.families.base import LoadedModel, LoadOptions, Target
from sd_scripts.families.configs import family_configs
from sd_scripts.families.detect import FamilyName
from sd_scripts.families.modules import empty_text_encoder, empty_unet
from sd_scripts.families.registry import FAMILIES
from tests.families.conftest import Stored
from tests.families.expected_targets import Entry, sd_unet, sdxl_unet, text_encoder

EXPECTED: dict[FamilyName, dict[str, list[Entry]]] = {
    "sd1": {"te1": list(text_encoder("lora_te", 12)), "unet": list(sd_unet())},
    "sd2": {"te1": list(text_encoder("lora_te", 23)), "unet": list(sd_unet())},
    "sdxl": {
        "te1": list(text_encoder("lora_te1", 12)),
        "te2": list(text_encoder("lora_te2", 32)),
        "unet": list(sdxl_unet()),
    },
}
COUNTS = {
    "sd1": {"te1": 72, "unet": 192, "with conv": 278},
    "sd2": {"te1": 138, "unet": 192, "with conv": 278},
    "sdxl": {"te1": 72, "te2": 192, "unet": 722, "with conv": 788},
}


@cache
def real_model(family: FamilyName) -> LoadedModel:
    """The modules of a real-size model, without any weights."""
    configs = family_configs(family)
    encoders = [empty_text_encoder(config) for config in configs.text_encoders]
    return cast(LoadedModel, SimpleNamespace(unet=empty_unet(configs.unet), text_encoders=encoders))


def entries(targets: list[Target], owner: str) -> list[Entry]:
    return [
        (t.name, t.path.removeprefix("text_model."), t.is_conv3x3_group)
        for t in targets
        if t.owner == owner
    ]


@pytest.mark.parametrize("family", list(EXPECTED))
def test_real_size_models_have_the_published_targets(family: FamilyName) -> None:
    targets = FAMILIES[family].network_targets(real_model(family))
    counts = {
        owner: sum(t.owner == owner and not t.is_conv3x3_group for t in targets)
        for owner in EXPECTED[family]
    }
    counts["with conv"] = sum(t.owner == "unet" for t in targets)
    assert counts == COUNTS[family]
    for owner, expected in EXPECTED[family].items():
        assert sorted(entries(targets, owner)) == sorted(expected)
    assert len({target.name for target in targets}) == len(targets)


@pytest.mark.parametrize("family", list(EXPECTED))
def test_text_encoders_come_first_then_the_unet_from_input_to_output(family: FamilyName) -> None:
    targets = FAMILIES[family].network_targets(real_model(family))
    owners = [target.owner for target in targets]
    assert owners == sorted(owners, key=["te1", "te2", "unet"].index)
    sides = [target.path.split("_")[0] for target in targets if target.owner == "unet"]
    assert sides == sorted(sides, key=["down", "mid", "up"].index)


@pytest.mark.parametrize(
    ("family", "name", "shape"),
    [
        ("sd1", "lora_unet_down_blocks_0_attentions_0_proj_in", (320, 320, 1, 1)),
        (
            "sd1",
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
            (320, 768),
        ),
        (
            "sd2",
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
            (320, 1024),
        ),
        ("sd2", "lora_unet_down_blocks_0_attentions_0_proj_in", (320, 320)),
        (
            "sd1",
            "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj",
            (10240, 1280),
        ),
        ("sd1", "lora_te_text_model_encoder_layers_0_mlp_fc1", (3072, 768)),
        ("sd1", "lora_unet_up_blocks_0_upsamplers_0_conv", (1280, 1280, 3, 3)),
        ("sdxl", "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", (640, 2048)),
        ("sdxl", "lora_unet_middle_block_1_transformer_blocks_9_ff_net_2", (1280, 5120)),
        ("sdxl", "lora_unet_output_blocks_2_2_conv", (1280, 1280, 3, 3)),
        ("sdxl", "lora_te1_text_model_encoder_layers_11_self_attn_q_proj", (768, 768)),
        ("sdxl", "lora_te2_text_model_encoder_layers_31_mlp_fc1", (5120, 1280)),
    ],
)
def test_shapes_of_the_reference_examples(
    family: FamilyName, name: str, shape: tuple[int, ...]
) -> None:
    targets = {t.name: t for t in FAMILIES[family].network_targets(real_model(family))}
    assert tuple(targets[name].module.weight.shape) == shape


def test_targets_are_the_models_own_layers(stored: Stored) -> None:
    model = stored.model
    roots = {"unet": model.unet} | {
        f"te{number}": encoder for number, encoder in enumerate(model.text_encoders, 1)
    }
    targets = stored.family.network_targets(model)
    for target in targets:
        assert roots[target.owner].get_submodule(target.path) is target.module
    assert {target.owner for target in targets} == set(roots)


def test_unet_alone(stored: Stored) -> None:
    model = stored.load(LoadOptions(device="meta"))
    every = [t.name for t in stored.family.network_targets(model) if t.owner == "unet"]
    stored.family.release(model, ["text_encoders"])
    assert [t.name for t in stored.family.network_targets(model)] == every


def test_every_target_takes_part_in_a_prediction(stored: Stored) -> None:
    """Nothing is listed that the forward pass would never reach."""
    model = stored.load()
    seen: set[str] = set()
    targets = stored.family.network_targets(model)
    for target in targets:
        target.module.register_forward_hook(lambda *_, name=target.name: seen.add(name))
    text = stored.family.encode_text(model, ["a cat"])
    sizes = torch.tensor([[64, 64]])
    extra = stored.family.conditioning_inputs(sizes, torch.zeros_like(sizes), sizes)
    stored.family.predict(model, torch.randn(1, 4, 8, 8), torch.tensor([5]), text, extra)
    unused = {target.name for target in targets} - seen
    # SDXL reads its first text encoder's penultimate layer, so its last never runs.
    last = "lora_te1_text_model_encoder_layers_2_"
    assert unused == {t.name for t in targets if stored.name == "sdxl" and last in t.name}
