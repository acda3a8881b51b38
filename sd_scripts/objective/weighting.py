"""Weights by noise level: functions of the SNR [B] that multiply each sample's loss.

With a zero-terminal-SNR model the SNR comes from the *rescaled* schedule, so that the weight fits
the noise that was really added; its last step has SNR = 0. All functions here are defined there.
"""

from __future__ import annotations

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
