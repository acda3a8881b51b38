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


def add_noise_offset(noise: Tensor, seeds: Sequence[int], strength: float) -> Tensor:
    """Return ε + strength·δ with one δ ~ N(0, 1) per sample and channel; ε is [B, C, h, w].

    Lets a model learn very dark and very bright pictures
    (https://www.crosslabs.org/blog/diffusion-with-offset-noise).
    """
    channels = noise.shape[1]
    offset = standard_normal((channels, 1, 1), seeds, "noise_offset", noise.device)
    return noise + strength * offset.to(noise.dtype)
