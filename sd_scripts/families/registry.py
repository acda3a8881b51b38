"""Every model family there is, by the name that detection gives."""

from __future__ import annotations

from typing import Final

from sd_scripts.families.base import Family
from sd_scripts.families.sdxl import SDXL
from sd_scripts.families.stable_diffusion import StableDiffusion
from sd_scripts.weights.model_kinds import FamilyName

FAMILIES: Final[dict[FamilyName, Family]] = {
    "sd1": StableDiffusion("sd1", "sd_v1"),
    "sd2": StableDiffusion("sd2", "sd_v2"),
    "sdxl": SDXL(),
}
