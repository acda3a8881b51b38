"""Which number formats a job uses: for frozen weights, trained weights, the VAE and files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from accelerate import Accelerator
from torch import Tensor

from sd_scripts.errors import Problem
from sd_scripts.options.jobs import TrainingJob

DTYPES: Final = {
    "no": torch.float32,
    "float": torch.float32,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


@dataclass(frozen=True)
class Precision:
    """`frozen`: base weights, and what is computed in; `trained`: learning weights; `unet` and
    `text`: the model's own parts, which may learn themselves; `vae`; `saved`: None = as trained."""

    frozen: torch.dtype
    trained: torch.dtype
    unet: torch.dtype
    text: torch.dtype
    vae: torch.dtype
    saved: torch.dtype | None


def precision_of(job: TrainingJob) -> Precision:
    """Derive the formats from `mixed_precision`, `full_*`, `no_half_vae` and `save_precision`."""
    performance = job.performance
    frozen = DTYPES[performance.mixed_precision]
    full = performance.full_fp16 or performance.full_bf16
    trained = frozen if full else torch.float32
    learning = job.learning_parts
    return Precision(
        frozen=frozen,
        trained=trained,
        unet=trained if "unet" in learning else frozen,
        text=trained if "text_encoders" in learning else frozen,
        vae=torch.float32 if job.model.no_half_vae else frozen,
        saved=DTYPES[job.saving.save_precision] if job.saving.save_precision else None,
    )


def precision_problems(job: TrainingJob, device: torch.device) -> list[Problem]:
    """Tell formats that this machine cannot compute in."""
    wanted = job.performance.mixed_precision
    if wanted == "fp16" and device.type == "cpu":
        return [
            Problem(
                "Half precision (fp16) needs a graphics card, and this machine trains on its CPU",
                "mixed_precision",
                "Choose bf16, or no for full precision.",
            )
        ]
    if wanted == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return [
            Problem(
                "This graphics card cannot compute in bf16",
                "mixed_precision",
                "Choose fp16, or no for full precision.",
            )
        ]
    return []


def allow_half_gradients(accelerator: Accelerator) -> None:
    """Let the gradient scaler unscale fp16 gradients, which `full_fp16` has.

    PyTorch's scaler refuses them by default, since they may underflow; with `full_fp16` the user
    chose that. Only the flag that the scaler's own method takes is changed.
    """
    scaler = accelerator.scaler
    if scaler is None:
        return
    unscale: Callable[..., dict[torch.device, Tensor]] = scaler._unscale_grads_

    def unscale_half(
        optimizer: torch.optim.Optimizer, inv_scale: Tensor, found_inf: Tensor, _allow_fp16: bool
    ) -> dict[torch.device, Tensor]:
        return unscale(optimizer, inv_scale, found_inf, True)

    scaler._unscale_grads_ = unscale_half
