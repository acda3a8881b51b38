"""LoRA keys and shapes of real-size models equal lists made from the published configurations.

A line of `tests/golden/lora_<family>.txt` is a module with the shapes of its two factors, for rank
4 and convolution rank 2; "conv" marks what is only trained with conv_dim. The lists were made from
the key patterns and widths that are published for each family, not from this program.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sd_scripts.families.configs import family_configs
from sd_scripts.families.detect import FamilyName
from sd_scripts.families.registry import FAMILIES
from sd_scripts.methods.network import NetworkMethod
from tests.methods.jobs import network_job

GOLDEN = Path(__file__).parent.parent / "golden"
COUNTS = {
    "sd1": {"te1": 72, "unet": 192, "conv": 278},
    "sd2": {"te1": 138, "unet": 192, "conv": 278},
    "sdxl": {"te1": 72, "te2": 192, "unet": 722, "conv": 788},
}


def golden(family: str, *, conv: bool) -> dict[str, tuple[list[int], list[int]]]:
    lines = [line.split() for line in (GOLDEN / f"lora_{family}.txt").read_text().splitlines()]
    return {
        name: ([int(n) for n in down.split("x")], [int(n) for n in up.split("x")])
        for group, name, down, up in lines
        if conv or group == "plain"
    }


@cache
def real_model(family: FamilyName) -> SimpleNamespace:
    """A model of real sizes without any weights; shared, so networks come off it again."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    configs = family_configs(family)
    kinds = (CLIPTextModel, CLIPTextModelWithProjection)
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(configs.unet)
        encoders = [
            kind(CLIPTextConfig(**config))
            for kind, config in zip(kinds, configs.text_encoders, strict=False)
        ]
    return SimpleNamespace(family=FAMILIES[family], unet=unet, text_encoders=encoders)


@pytest.mark.parametrize("conv", [False, True], ids=["linear", "with conv"])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_keys_and_shapes_of_real_models(family: FamilyName, conv: bool) -> None:
    options = {"conv_dim": 2} if conv else {}
    method = NetworkMethod(network_job(network_dim=4, **options), real_model(family))
    method.detach()
    state = method.trainable_modules.state_dict()
    modules = list(dict.fromkeys(key.partition(".")[0] for key in state))
    expected = golden(family, conv=conv)
    assert sorted(modules) == sorted(expected)
    for name in modules:
        down, up = expected[name]
        assert list(state[f"{name}.lora_down.weight"].shape) == down, name
        assert list(state[f"{name}.lora_up.weight"].shape) == up, name
        assert state[f"{name}.alpha"].shape == ()
    assert len(state) == 3 * len(modules)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_counts_and_order_of_real_models(family: FamilyName) -> None:
    counts = dict(COUNTS[family])
    with_conv = counts.pop("conv")
    method = NetworkMethod(network_job(), real_model(family))
    method.detach()
    assert method.num_modules == counts
    both = NetworkMethod(network_job(conv_dim=2), real_model(family))
    both.detach()
    assert both.num_modules == {**counts, "unet": with_conv}
    keys = list(both.trainable_modules.state_dict())
    text = [key.startswith("lora_te") for key in keys]
    assert text == sorted(text, reverse=True)
    first = keys[0].partition(".")[0]
    assert keys[:3] == [f"{first}.alpha", f"{first}.lora_down.weight", f"{first}.lora_up.weight"]


def test_golden_lists_hold_the_counts_that_are_known() -> None:
    for family, counts in COUNTS.items():
        unet = [name for name in golden(family, conv=True) if name.startswith("lora_unet_")]
        plain = [name for name in golden(family, conv=False) if name.startswith("lora_unet_")]
        assert (len(plain), len(unet)) == (counts["unet"], counts["conv"])
