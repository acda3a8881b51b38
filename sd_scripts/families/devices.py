"""Which device a model runs on outside a training, and in which number format."""

from __future__ import annotations

from typing import Final

import torch

from sd_scripts.errors import UserError

DTYPES: Final = {"float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_device(wanted: str | None) -> torch.device:
    """Return what a model runs on. Raises `UserError` for what is not there."""
    there: dict[str, bool] = {
        "cuda": torch.cuda.is_available(),
        "xpu": torch.xpu.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    found = [name for name, usable in there.items() if usable]
    if wanted is None:
        return torch.device(found[0])
    if wanted not in found:
        raise UserError(
            f"The model cannot run on {wanted} here",
            option="device",
            hint=f"Choose {' or '.join(found)}, or leave it empty.",
        )
    return torch.device(wanted)


def choose_dtype(
    wanted: str | None, device: torch.device, on_cards: torch.dtype = torch.float16
) -> torch.dtype:
    """Return the number format: what is wanted, else float32 on a CPU and `on_cards` on others.

    Raises `UserError` for one the device cannot compute in.
    """
    if wanted is None:
        return torch.float32 if device.type == "cpu" else on_cards
    if wanted == "fp16" and device.type == "cpu":
        raise UserError(
            "Half precision (fp16) needs a graphics card, and this runs on the CPU",
            option="precision",
            hint="Choose bf16 or float, or leave it empty.",
        )
    return DTYPES[wanted]
