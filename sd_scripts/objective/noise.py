"""Noise that belongs to a sample: each draws from its own CPU stream, whatever batch it is in.

A sample's seed names its streams; a purpose ("noise", "timestep", …) picks one of them, so that
switching one option on never shifts the numbers another one draws. The result does not depend on
batch size, on how many processes share a batch, or on the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def stream(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator for one purpose of one sample.

    torch's CPU engine keeps the lower 32 bits of a seed, so two samples may share one of their
    streams (about once in 2³² pairs); purposes are hashed apart, so they never share all of them.
    """
    digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def standard_normal(
    shape: Sequence[int], seeds: Sequence[int], purpose: str, device: torch.device | str = "cpu"
) -> Tensor:
    """Return N(0, 1) noise [B, *shape] float32, row i drawn on the CPU from stream i."""
    rows = torch.empty((len(seeds), *shape), dtype=torch.float32)
    for row, seed in zip(rows, seeds, strict=True):
        torch.randn(tuple(shape), generator=stream(seed, purpose), out=row)
    return rows.to(device, non_blocking=True)


def sample_noise(
    shape: Sequence[int], seeds: Sequence[int], device: torch.device | str = "cpu"
) -> Tensor:
    """Return the noise ε for latents of `shape` [B, C, h, w]; B must be the number of seeds."""
    assert shape[0] == len(seeds), "one noise seed per sample"
    return standard_normal(shape[1:], seeds, "noise", device)


def random_strengths(
    seeds: Sequence[int], strength: float, purpose: str, device: torch.device | str = "cpu"
) -> Tensor:
    """Return one number [B, 1, 1, 1] per sample, uniform in [0, strength), from stream `purpose`.

    sd-scripts draws one number for the whole batch.
    """
    drawn = torch.cat([torch.rand(1, generator=stream(seed, purpose)) for seed in seeds])
    return (strength * drawn).view(-1, 1, 1, 1).to(device, non_blocking=True)


def adaptive_strengths(latents: Tensor, strength: float | Tensor, scale: float) -> Tensor:
    """Return max(0, strength + scale·|mean over h, w of the latents|), [B, C, 1, 1].

    Pictures that are far from grey get more offset noise (or less, with a negative scale).
    """
    brightness = latents.float().mean(dim=(2, 3), keepdim=True).abs()
    return torch.clamp(strength + scale * brightness, min=0.0)


def add_noise_offset(noise: Tensor, seeds: Sequence[int], strength: float | Tensor) -> Tensor:
    """Return ε + strength·δ with one δ ~ N(0, 1) per sample and channel; ε is [B, C, h, w].

    `strength` is one number, or broadcastable to [B, C, 1, 1]. Lets a model learn very dark and
    very bright pictures (https://www.crosslabs.org/blog/diffusion-with-offset-noise).
    """
    channels = noise.shape[1]
    offset = standard_normal((channels, 1, 1), seeds, "noise_offset", noise.device)
    return noise + (strength * offset).to(noise.dtype)


def add_multires_noise(
    noise: Tensor, seeds: Sequence[int], iterations: int, discount: float
) -> Tensor:
    """Return a pyramid of noise [B, C, h, w]: (ε + Σᵢ discountⁱ·up(εᵢ)) / its standard deviation.

    εᵢ ~ N(0, 1) is ⌊side/rᵢⁱ⌋ wide and high (at least 1), rᵢ uniform in [2, 4), and enlarged
    bilinearly; the sum ends at `iterations` terms or at a side of 1
    (https://wandb.ai/johnowhitaker/multires_noise). Every sample draws its own rᵢ and is divided
    by its own standard deviation, so that it does not depend on the batch it is in; sd-scripts has
    one rᵢ and one deviation for the whole batch.
    """
    rows = [
        _pyramid(row, stream(seed, "multires_noise"), iterations, discount)
        for row, seed in zip(noise.to("cpu", torch.float32), seeds, strict=True)
    ]
    return torch.stack(rows).to(noise.device, noise.dtype, non_blocking=True)


def _pyramid(noise: Tensor, generator: torch.Generator, iterations: int, discount: float) -> Tensor:
    channels, height, width = noise.shape
    total = noise.clone()
    for level in range(iterations):
        shrink = (2.0 + 2.0 * torch.rand(1, generator=generator).item()) ** level
        sides = max(1, int(height / shrink)), max(1, int(width / shrink))
        coarse = torch.randn((1, channels, *sides), generator=generator)
        fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
        total += fine[0] * discount**level
        if 1 in sides:
            break
    return total / total.std()


def perturb_noise(noise: Tensor, seeds: Sequence[int], strength: float | Tensor) -> Tensor:
    """Return ε + strength·ξ with ξ ~ N(0, 1) of the same shape [B, C, h, w]: input perturbation.

    Only what the model sees is noised with it, the target keeps ε
    (Ning et al. 2023, https://arxiv.org/abs/2301.11706).
    """
    extra = standard_normal(noise.shape[1:], seeds, "ip_noise", noise.device)
    return noise + (strength * extra).to(noise.dtype)
