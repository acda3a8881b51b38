"""Wears pictures as an autoencoder and a small diffusion model do: blur, colour, noise, warp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tools.starter.vae import VAE_SCALE

BLUR_RADIUS = 6  # px, how far the blur's kernel reaches
ENCODE_BATCH = 16


@dataclass(frozen=True)
class Wear:
    """The most of each wear that a picture gets; how much it gets is chosen evenly below."""

    share: float = 0.75
    """How many of the pictures are worn at all."""
    blur: float = 2.2
    """Standard deviation of the Gaussian, px at 128 px."""
    gain: float = 0.10
    """Each channel is multiplied by 1 ± this."""
    shift: float = 0.08
    """Each channel is moved by this, where black to white is 2."""
    noise: float = 0.10
    """Standard deviation of the noise in single pixels."""
    clouds: float = 0.12
    """Standard deviation of the noise in patches of 8 to 16 px."""
    warp: float = 3.0
    """Standard deviation of the bending, px at 128 px."""


def _amount(count: int, most: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, 1, 1, 1, generator=generator) * most


def _smooth(pictures: Tensor, channels: int, cells: int, generator: torch.Generator) -> Tensor:
    """Return smooth noise [B, channels, H, W] that varies over H / cells pixels."""
    coarse = torch.randn(len(pictures), channels, cells, cells, generator=generator)
    return F.interpolate(coarse, pictures.shape[-2:], mode="bicubic", align_corners=False)


def blur(pictures: Tensor, deviations: Tensor) -> Tensor:
    """Blur each picture [B, 3, H, W] by a Gaussian of its own deviation [B], in pixels."""
    places = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, dtype=pictures.dtype)
    kernel = torch.exp(-0.5 * (places / deviations.clamp(min=1e-2)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None]
    count, _, height, width = pictures.shape
    edge = (BLUR_RADIUS,) * 4
    flat = F.pad(pictures, edge, mode="replicate").reshape(
        1, count * 3, *(side + 2 * BLUR_RADIUS for side in (height, width))
    )
    across = F.conv2d(flat, kernel[:, :, None, :], groups=count * 3)
    return F.conv2d(across, kernel[:, :, :, None], groups=count * 3).reshape(pictures.shape)


def warp(pictures: Tensor, deviations: Tensor, generator: torch.Generator) -> Tensor:
    """Bend each picture [B, 3, H, W] smoothly by some pixels, [B, 1, 1, 1] of them."""
    count, _, height, width = pictures.shape
    bend = _smooth(pictures, 2, 4, generator) * deviations * 2 / height
    still = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), [count, 3, height, width], False)
    grid = still + bend.permute(0, 2, 3, 1)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def wear(pictures: Tensor, generator: torch.Generator, most: Wear) -> Tensor:
    """Return worn pictures, [B, 3, H, W] in -1 to 1, and a part of them as they were."""
    count = len(pictures)
    worn = warp(pictures, _amount(count, most.warp, generator), generator)
    worn = blur(worn, _amount(count, most.blur, generator).flatten())
    gain = 1 + most.gain * (2 * torch.rand(count, 3, 1, 1, generator=generator) - 1)
    shift = most.shift * (2 * torch.rand(count, 3, 1, 1, generator=generator) - 1)
    worn = worn * gain + shift
    cells = 8 if torch.rand((), generator=generator) < 0.5 else 16
    worn = worn + _smooth(worn, 3, cells, generator) * _amount(count, most.clouds, generator)
    grain = torch.randn(worn.shape, generator=generator)
    worn = worn + grain * _amount(count, most.noise, generator)
    chosen = torch.rand(count, 1, 1, 1, generator=generator) < most.share
    return torch.where(chosen, worn.clamp(-1, 1), pictures)


@torch.no_grad()
def through_vae(vae: Any, pictures: Tensor, generator: torch.Generator, noise: float) -> Tensor:
    """Encode and decode pictures [B, 3, H, W], with up to `noise` unit noise on the latents."""
    made = []
    for part in torch.split(pictures, ENCODE_BATCH):
        latents = vae.encode(part).latent_dist.mean * VAE_SCALE
        amount = _amount(len(part), noise, generator)
        latents = latents + amount * torch.randn(latents.shape, generator=generator)
        made.append(vae.decode(latents / VAE_SCALE).sample.clamp(-1, 1))
    return torch.cat(made)
