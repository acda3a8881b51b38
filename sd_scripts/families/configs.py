"""The shipped configurations of each family, with nothing loaded: plain dictionaries."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from sd_scripts.weights.model_kinds import FamilyName

Config = dict[str, Any]
ASSETS: Final = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class FamilyConfigs:
    """The configuration of each part, in the words of diffusers and transformers."""

    unet: Config
    vae: Config
    text_encoders: tuple[Config, ...]
    tokenizer_pads: tuple[str, ...]
    scheduler: Config


@cache
def _shipped(family: FamilyName) -> Config:
    content: Config = json.loads((ASSETS / f"{family}.json").read_text(encoding="utf-8"))
    return content


def family_configs(family: FamilyName) -> FamilyConfigs:
    """Return a family's real-size configurations; a fresh copy that may be changed."""
    content = copy.deepcopy(_shipped(family))
    return FamilyConfigs(
        unet=content["unet"],
        vae=content["vae"],
        text_encoders=tuple(content["text_encoders"]),
        tokenizer_pads=tuple(content["tokenizer_pads"]),
        scheduler=content["scheduler"],
    )


def head_size(width: int) -> int:
    """Return the size of one attention head where it cannot be read from tensors.

    CLIP's text encoders and the U-Nets of SD 2.x and SDXL have heads of 64 at every width; smaller
    test models, whose widths 64 does not divide, have heads of 32, or one head.
    """
    return next((size for size in (64, 32) if width % size == 0), width)
