"""A model of a few layers, with targets of every kind, for tests of the LoRA method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FakeTarget:
    """What a family tells of one layer."""

    name: str
    owner: Literal["unet", "te1", "te2"]
    module: nn.Module
    is_conv3x3_group: bool = False


@dataclass(frozen=True)
class FakeLayer:
    """What a family tells of one layer wherever it stands."""

    name: str
    owner: Literal["unet", "te1", "te2"]
    path: str
    module: nn.Module
    within: tuple[str, ...]


class SmallUnet(nn.Module):
    """Attention-like Linear and 1x1 convolution; a ResNet-like 3x3 and its time projection."""

    def __init__(self) -> None:
        super().__init__()
        self.proj_in = nn.Conv2d(4, 6, 1)
        self.to_q = nn.Linear(6, 6)
        self.conv1 = nn.Conv2d(6, 5, 3, padding=1)
        self.time_emb_proj = nn.Linear(3, 5)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.proj_in(x)
        y = self.to_q(y.movedim(1, -1)).movedim(-1, 1)
        return self.conv1(y) + self.time_emb_proj(time)[:, :, None, None]


class SmallText(nn.Module):
    """One layer of a text encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc1(x)


class FakeFamily:
    """Targets named as SD 1.x names them (one text encoder) or SDXL (two)."""

    def __init__(self, name: Literal["sd1", "sdxl"]) -> None:
        self.name = name

    def network_targets(self, model: FakeModel) -> Sequence[FakeTarget]:
        prefixes = ["lora_te"] if self.name == "sd1" else ["lora_te1", "lora_te2"]
        owners: tuple[Literal["te1", "te2"], ...] = ("te1", "te2")
        text = [
            FakeTarget(f"{prefix}_text_model_encoder_layers_0_mlp_fc1", owner, encoder.fc1)
            for prefix, owner, encoder in zip(prefixes, owners, model.text_encoders, strict=False)
        ]
        block = "mid_block" if self.name == "sd1" else "middle_block"
        paths = {
            "mid_block": ("resnets_0_conv1", "resnets_0_time_emb_proj", "attentions_0"),
            "middle_block": ("0_in_layers_2", "0_emb_layers_1", "1"),
        }[block]
        unet = model.unet
        return [
            *text,
            FakeTarget(f"lora_unet_{block}_{paths[0]}", "unet", unet.conv1, True),
            FakeTarget(f"lora_unet_{block}_{paths[1]}", "unet", unet.time_emb_proj, True),
            FakeTarget(f"lora_unet_{block}_{paths[2]}_proj_in", "unet", unet.proj_in),
            FakeTarget(
                f"lora_unet_{block}_{paths[2]}_transformer_blocks_0_attn1_to_q", "unet", unet.to_q
            ),
        ]

    def network_layers(self, model: FakeModel) -> Sequence[FakeLayer]:
        found = []
        for target in self.network_targets(model):
            assert isinstance(target, FakeTarget)
            kind = "CLIPMLP" if target.owner != "unet" else "Transformer2DModel"
            kinds = ("ResnetBlock2D" if target.is_conv3x3_group else kind, "Linear")
            found.append(FakeLayer(target.name, target.owner, target.name, target.module, kinds))
        return found


@dataclass
class FakeModel:
    """What the method needs of a loaded model."""

    family: FakeFamily
    unet: SmallUnet = field(default_factory=SmallUnet)
    text_encoders: list[SmallText] = field(default_factory=list)

    def outputs(self) -> list[Tensor]:
        """What each part gives for fixed inputs."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(2, 4, 5, 5, generator=generator)
        time = torch.randn(2, 3, generator=generator)
        return [self.unet(x, time), *(encoder(time) for encoder in self.text_encoders)]


def fake_model(name: Literal["sd1", "sdxl"] = "sd1") -> FakeModel:
    """A fresh model with fixed, frozen weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        encoders = [SmallText() for _ in range(1 if name == "sd1" else 2)]
        model = FakeModel(FakeFamily(name), SmallUnet(), encoders)
    for part in (model.unet, *model.text_encoders):
        part.requires_grad_(False)
    return model
