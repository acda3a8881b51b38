"""Notice a run that computes no valid numbers any more, and say why that probably is."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sd_scripts.errors import UserError
from sd_scripts.options.jobs import TrainingJob, TrainNetworkJob


def all_finite(tensors: Iterable[Tensor | None]) -> bool:
    """Tell whether no number is NaN or infinite; None counts as fine."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor is not None)


def broken_weights(step: int) -> UserError:
    """Return the error that ends a run whose weights are no numbers, before they are saved."""
    return UserError(
        f"The trained weights are broken after step {step}: they are no numbers any more",
        option="learning_rate, max_grad_norm",
        hint="Try a tenth of the learning rate, with max_grad_norm 1. These weights were not "
        "saved; what was saved before is good.",
    )


def explain_invalid_loss(
    job: TrainingJob,
    *,
    step: int,
    latents: Tensor,
    text: Tensor,
    trained: Iterable[Tensor],
    names: Iterable[str],
) -> UserError:
    """Return the error that ends the run, with the likely cause by what is still valid.

    `latents` [B, 4, h, w] and `text` [B, L, D] are the inputs of the failed step, `trained` the
    weights that learn, `names` the step's pictures. Nothing was learned from that step: the last
    saved files are good.
    """
    told = f"The loss is not a number any more (step {step})"
    kept = "What was saved before is good; nothing was learned from this step."
    half = job.performance.mixed_precision == "fp16"
    if not all_finite([latents]):
        pictures = ", ".join(names)
        return UserError(
            f"{told}: the encoded picture is already broken ({pictures})",
            option="no_half_vae" if half else "train_data_dir",
            hint=f"The VAE overflows in half precision: set no_half_vae. {kept}"
            if half
            else f"Look at these pictures, or choose another VAE. {kept}",
        )
    if not all_finite([text]):
        rate = "text_encoder_lr" if isinstance(job, TrainNetworkJob) else "learning_rate"
        return UserError(
            f"{told}: the text encoder returned no valid numbers",
            option=rate,
            hint=f"Lower {rate}, or train with mixed_precision bf16. {kept}",
        )
    if not all_finite(trained):
        return UserError(
            f"{told}: the trained weights are broken",
            option="learning_rate",
            hint=f"The learning rate is too high for these settings: try a tenth of it. {kept}",
        )
    if half:
        return UserError(
            f"{told}: the model overflows in half precision",
            option="mixed_precision",
            hint=f"Train with mixed_precision bf16, or lower the learning rate. {kept}",
        )
    return UserError(
        f"{told}: the learning rate is probably too high",
        option="learning_rate",
        hint=f"Try a tenth of the learning rate, or a longer warm-up. {kept}",
    )
