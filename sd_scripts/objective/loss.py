"""Elementwise losses between prediction and target, and the Huber width for each sample.

All take float32 [B, C, h, w] and give the same shape; `masked_mean` or a plain mean comes after,
then weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return d², d = prediction − target ("l2")."""
    return torch.nn.functional.mse_loss(prediction, target, reduction="none")


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return |d| ("l1")."""
    return torch.nn.functional.l1_loss(prediction, target, reduction="none")


def pseudo_huber(prediction: Tensor, target: Tensor, width: Tensor) -> Tensor:
    """Return 2c·(√(d² + c²) − c): like d² for |d| ≪ c, like 2c·|d| beyond ("huber").

    `width` is c, [B, 1, 1, 1] or broadcastable. Pseudo-Huber as used for diffusion in
    https://arxiv.org/abs/2403.16728 and https://arxiv.org/abs/2310.14189.
    """
    return 2 * width * _huber_root(prediction, target, width)


def smooth_l1(prediction: Tensor, target: Tensor, width: Tensor) -> Tensor:
    """Return 2·(√(d² + c²) − c): like |d|·2 for |d| ≫ c, rounded near zero ("smooth_l1")."""
    return 2 * _huber_root(prediction, target, width)


def _huber_root(prediction: Tensor, target: Tensor, width: Tensor) -> Tensor:
    """Return √(d² + c²) − c as d²/(√(d² + c²) + c): equal, without losing digits for |d| ≪ c."""
    square = (prediction - target) ** 2
    return square / ((square + width**2).sqrt() + width)


def constant_width(num_samples: int, huber_c: float, scale: float) -> Tensor:
    """Return c = huber_c·scale for every sample, [B]."""
    return torch.full((num_samples,), huber_c * scale)


def exponential_width(
    timesteps: Tensor, huber_c: float, scale: float, num_timesteps: int
) -> Tensor:
    """Return c = exp(−α·t)·scale with α = −ln(huber_c)/T, [B].

    It falls from `scale` at t = 0 to huber_c·scale at t = T;
    https://arxiv.org/abs/2403.16728, section 4.
    """
    alpha = -math.log(huber_c) / num_timesteps
    return torch.exp(-alpha * timesteps.float()) * scale


def snr_width(snr: Tensor, huber_c: float) -> Tensor:
    """Return c = (1 − huber_c)/(1 + σ)² + huber_c with σ = 1/√SNR, [B] (`huber_scale` not used).

    SNR = 0 (pure noise) gives σ = ∞ and so c = huber_c.
    """
    sigma = snr.rsqrt()
    return (1 - huber_c) / (1 + sigma) ** 2 + huber_c


def masked_mean(elements: Tensor, mask: Tensor) -> Tensor:
    """Return Σ mask·loss / Σ mask over C, h, w of each sample, [B]: the mean over the mask's area.

    `elements` [B, C, h, w], `mask` [B, 1, h, w] in 0 … 1. A small subject counts as much as a
    large one; a picture whose mask is empty counts nothing.
    """
    axes = tuple(range(1, elements.dim()))
    area = mask.expand_as(elements).sum(dim=axes)
    total = (elements * mask).sum(dim=axes)
    return torch.where(area > 0, total / area.clamp(min=torch.finfo(area.dtype).tiny), 0.0)


def mean_of_masked(elements: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of mask·loss over C, h, w, [B], what is masked out counting as 0.

    So sd-scripts has it: the smaller the mask, the smaller the loss.
    """
    return (elements * mask).mean(dim=tuple(range(1, elements.dim())))
