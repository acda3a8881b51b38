"""What the model learns to predict: the noise ε, or the velocity v; and the noisy latents it sees.

Schedules √ᾱ and √(1−ᾱ) are given per sample, already shaped [B, 1, 1, 1].
"""

from __future__ import annotations

from torch import Tensor


def add_noise(latents: Tensor, noise: Tensor, root_alpha: Tensor, root_one_minus: Tensor) -> Tensor:
    """Return x_t = √ᾱ·x_0 + √(1−ᾱ)·ε (DDPM, eq. 4, https://arxiv.org/abs/2006.11239)."""
    return root_alpha * latents + root_one_minus * noise


def epsilon_target(noise: Tensor) -> Tensor:
    """Return ε itself (DDPM, eq. 14)."""
    return noise


def velocity_target(
    latents: Tensor, noise: Tensor, root_alpha: Tensor, root_one_minus: Tensor
) -> Tensor:
    """Return v = √ᾱ·ε − √(1−ᾱ)·x_0 (Salimans & Ho 2022, app. D, https://arxiv.org/abs/2202.00512)."""
    return root_alpha * noise - root_one_minus * latents
