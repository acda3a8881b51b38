"""Weights by noise level: functions of the SNR [B] that multiply each sample's loss.

With a zero-terminal-SNR model the SNR comes from the *rescaled* schedule, so that the weight fits
the noise that was really added; its last step has SNR = 0. The functions for a model that predicts
v are defined there; of those for ε, only min-SNR is (the others grow without bound).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor


def min_snr_epsilon(snr: Tensor, gamma: float) -> Tensor:
    """Return min(SNR, γ)/SNR, [B], for a model that predicts ε.

    Hang et al. 2023, https://arxiv.org/abs/2303.09556. Written as min(1, γ/SNR), which has the
    right limit 1 at SNR = 0 instead of 0/0.
    """
    return torch.clamp(gamma / snr, max=1.0)


def min_snr_velocity(snr: Tensor, gamma: float) -> Tensor:
    """Return min(SNR, γ)/(SNR + 1), [B], for a model that predicts v (same source).

    At SNR = 0 this is 0, as the formula has it: the loss in x_0 that min-SNR bounds vanishes there.
    """
    return torch.clamp(snr, max=gamma) / (snr + 1.0)


SNR_LIMIT: Final = 1000.0
"""Where the weights below stop following the SNR, as in sd-scripts."""


def velocity_loss_like_noise(snr: Tensor) -> Tensor:
    """Return SNR/(SNR + 1), [B]: the loss in v weighs as the loss in ε does (SNR at most 1000).

    ε − ε̂ = √ᾱ·(v − v̂) for the same x_t, and ᾱ = SNR/(SNR + 1)
    (https://arxiv.org/abs/2202.00512, app. D).
    """
    limited = torch.clamp(snr, max=SNR_LIMIT)
    return limited / (limited + 1.0)


def with_velocity_like_loss(snr: Tensor, share: float) -> Tensor:
    """Return 1 + share·(SNR + 1)/SNR, [B]: adds the loss in v of a model that predicts ε.

    The inverse of `velocity_loss_like_noise`; infinite at SNR = 0.
    """
    return 1.0 + share / velocity_loss_like_noise(snr)


def debiased_epsilon(snr: Tensor) -> Tensor:
    """Return 1/√SNR, [B], for a model that predicts ε (SNR at most 1000; infinite at SNR = 0).

    Debias the training of diffusion models, https://arxiv.org/abs/2310.08442.
    """
    return torch.clamp(snr, max=SNR_LIMIT).rsqrt()


def debiased_velocity(snr: Tensor) -> Tensor:
    """Return 1/(SNR + 1), [B], for a model that predicts v (same source)."""
    return 1.0 / (torch.clamp(snr, max=SNR_LIMIT) + 1.0)
