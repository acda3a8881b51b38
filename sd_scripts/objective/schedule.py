"""The discrete diffusion schedule: alphas_cumprod, its zero-terminal-SNR form, and the SNR.

`alphas_cumprod` (written ᾱ below) is [T] float32 and falls from nearly 1 to nearly 0.
"""

from __future__ import annotations

import torch
from torch import Tensor


def scaled_linear_alphas_cumprod(
    num_timesteps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012
) -> Tensor:
    """Return ᾱ [T] of the schedule all Stable Diffusion models were trained on.

    √β is linear from √beta_start to √beta_end (DDPM, Ho et al. 2020, https://arxiv.org/abs/2006.11239,
    with the "scaled linear" β of latent diffusion, https://arxiv.org/abs/2112.10752).
    """
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, num_timesteps, dtype=torch.float32) ** 2
    return torch.cumprod(1.0 - betas, dim=0)


def rescale_zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """Return ᾱ [T] shifted and scaled so that the last step is pure noise (ᾱ_T = 0 exactly).

    √ᾱ ← (√ᾱ − √ᾱ_T)·√ᾱ_0 / (√ᾱ_0 − √ᾱ_T): Lin et al. 2023, algorithm 1,
    https://arxiv.org/abs/2305.08891. The first value stays as it was.
    """
    root = alphas_cumprod.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    return ((root - last) * (first / (first - last))) ** 2


def signal_to_noise(alphas_cumprod: Tensor) -> Tensor:
    """Return SNR = ᾱ / (1 − ᾱ), elementwise; 0 where ᾱ is 0 (the last zero-terminal-SNR step)."""
    return alphas_cumprod / (1.0 - alphas_cumprod)
