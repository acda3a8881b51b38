"""The schedule against diffusers, and the zero-terminal-SNR fix against its paper."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMScheduler

from sd_scripts.objective.schedule import (
    rescale_zero_terminal_snr,
    scaled_linear_alphas_cumprod,
    signal_to_noise,
)


def stock_scheduler(**changes: object) -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        clip_sample=False,
        **changes,
    )


def test_alphas_cumprod_equals_stock_diffusers() -> None:
    assert torch.equal(scaled_linear_alphas_cumprod(), stock_scheduler().alphas_cumprod)


def test_first_values_by_hand() -> None:
    alphas = scaled_linear_alphas_cumprod()
    second_root = math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) / 999
    assert alphas[0].item() == pytest.approx(1 - 0.00085, abs=1e-7)
    assert alphas[1].item() == pytest.approx((1 - 0.00085) * (1 - second_root**2), abs=1e-7)


def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_start() -> None:
    plain = scaled_linear_alphas_cumprod()
    fixed = rescale_zero_terminal_snr(plain)
    assert fixed[-1].item() == 0.0
    assert fixed[0].item() == pytest.approx(plain[0].item(), abs=1e-6)
    assert (fixed.diff() < 0).all()
    assert (fixed <= plain + 1e-6).all()
    stock = stock_scheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing")
    torch.testing.assert_close(fixed[:-1], stock.alphas_cumprod[:-1], atol=2e-5, rtol=1e-4)


def test_signal_to_noise_is_zero_only_at_the_terminal_step() -> None:
    snr = signal_to_noise(rescale_zero_terminal_snr(scaled_linear_alphas_cumprod()))
    assert snr[-1].item() == 0.0
    assert (snr[:-1] > 0).all()
    assert torch.isfinite(snr).all()
    alphas = torch.tensor([0.5, 0.8])
    torch.testing.assert_close(signal_to_noise(alphas), torch.tensor([1.0, 4.0]))
