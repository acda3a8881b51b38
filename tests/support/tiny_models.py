"""Tiny models of every family for tests: every part and key name of a real one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from sd_scripts.families.detect import FamilyName, PredictionType
from tools.make_random_model import RandomModel, make_model, write_checkpoint, write_folder

FAMILY_NAMES: tuple[FamilyName, ...] = ("sd1", "sd2", "sdxl")


@cache
def tiny_model(
    family: FamilyName, seed: int = 0, prediction_type: PredictionType | None = None
) -> RandomModel:
    """Return the modules themselves; shared between tests, so do not change them."""
    return make_model(family, "tiny", seed=seed, prediction_type=prediction_type)


def make_tiny_folder(
    family: FamilyName,
    path: str | Path,
    seed: int = 0,
    prediction_type: PredictionType | None = None,
) -> Path:
    """Write a tiny diffusers folder; the same seed as a checkpoint's means the same weights."""
    return write_folder(tiny_model(family, seed, prediction_type), path)


def make_tiny_checkpoint(
    family: FamilyName,
    path: str | Path,
    seed: int = 0,
    prediction_type: PredictionType | None = None,
    *,
    metadata: dict[str, str] | None = None,
    extra: dict[str, Tensor] | None = None,
) -> Path:
    """Write a tiny single file (`.safetensors` or `.ckpt`) in the family's own layout.

    A v-prediction model gets what real ones have: SDXL and SD 1.x the marker tensors `v_pred`
    (and only that), SD 2.x the modelspec architecture.
    """
    model = tiny_model(family, seed, prediction_type)
    extra = dict(extra or {})
    metadata = dict(metadata or {})
    if prediction_type == "v_prediction":
        if family == "sd2":
            metadata.setdefault("modelspec.architecture", "stable-diffusion-v2-768-v")
        else:
            extra.setdefault("v_pred", torch.tensor([]))
    return write_checkpoint(model, path, metadata=metadata, extra=extra)
