"""Latents from pictures and back into a batch: the VAE's moments, how one step samples them, NaNs.

What is cached are the *moments* (mean and log variance) of the VAE's distribution, unscaled.
Every step samples them anew from the sample's own stream, as the model was trained; sd-scripts
freezes one sample when it caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sd_scripts.data.pixels import Pixels
from sd_scripts.errors import UserError

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from sd_scripts.data.batch import Batch

_NAMES_SHOWN = 5


@dataclass(frozen=True)
class LatentScaling:
    """How the U-Net wants latents: (latents − shift)·scale, with the family's constants."""

    scale: float
    shift: float = 0.0


def to_tensor(pixels: Pixels) -> Tensor:
    """Turn pixels [B, H, W, 3] uint8 into [B, 3, H, W] float32 in −1 … 1, the VAE's range."""
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    return tensor.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)


def encode_moments(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Encode pixels [B, 3, H, W] (−1 … 1) to moments [B, 2C, h, w] in the VAE's own dtype.

    Mixed precision is off in here: it would undo `no_half_vae`.
    """
    with torch.no_grad(), torch.autocast(vae.device.type, enabled=False):
        pixels = pixels.to(vae.device, vae.dtype, non_blocking=True)
        moments: Tensor = vae.encode(pixels).latent_dist.parameters
    return moments


def sample_moments(moments: Tensor, seeds: Sequence[int], scaling: LatentScaling) -> Tensor:
    """Sample latents [B, C, h, w] float32, scaled; row i is drawn on the CPU from seed i.

    x = μ + exp(½·log σ²)·ε with log σ² limited to −30 … 20, as diffusers'
    DiagonalGaussianDistribution does.
    """
    mean, log_variance = moments.float().chunk(2, dim=1)
    noise = torch.empty(mean.shape)
    for row, seed in zip(noise, seeds, strict=True):
        torch.randn(row.shape, generator=torch.Generator().manual_seed(seed), out=row)
    deviation = torch.exp(0.5 * log_variance.clamp(-30.0, 20.0))
    latents = mean + deviation * noise.to(mean.device, non_blocking=True)
    return (latents - scaling.shift) * scaling.scale


def encode_pixels(
    vae: AutoencoderKL, batch: Batch, scaling: LatentScaling, vae_batch_size: int = 1
) -> Tensor:
    """Return the latents of a batch that came with pixels, as `sample_moments` does.

    `UserError` names the pictures for which the VAE gives NaN or infinity.
    """
    assert batch.pixels is not None, "this batch has latents already"
    parts = [encode_moments(vae, part) for part in torch.split(batch.pixels, vae_batch_size)]
    moments = torch.cat(parts)
    check_finite(moments, batch.names)
    return sample_moments(moments, batch.latent_seeds, scaling)


def check_finite(moments: Tensor, names: Sequence[str]) -> None:
    """Raise a `UserError` that names the pictures whose moments [B, …] are not all finite."""
    good = torch.isfinite(moments).flatten(1).all(dim=1).tolist()
    bad = [name for name, is_good in zip(names, good, strict=True) if not is_good]
    if not bad:
        return
    shown = ", ".join(bad[:_NAMES_SHOWN]) + (" …" if len(bad) > _NAMES_SHOWN else "")
    if moments.dtype == torch.float32:
        hint = "the VAE file is probably damaged; choose another one with the option vae"
    else:
        hint = "switch no_half_vae on: this VAE overflows in 16 bits (or choose a repaired VAE)"
    raise UserError(f"the VAE gives NaN for {shown}", option="no_half_vae, vae", hint=hint)
