"""Losses, Huber widths and SNR weights, each against its formula written out in plain Python."""

from __future__ import annotations

import math

import pytest
import torch

from sd_scripts.families.latent_diffusion import scaled_linear_alphas
from sd_scripts.objective import loss, weighting
from sd_scripts.objective.process import signal_to_noise

ALPHAS = scaled_linear_alphas(zero_terminal_snr=False)
SNR = signal_to_noise(ALPHAS)
D = 0.37


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value)


def test_squared_and_absolute_error() -> None:
    assert loss.squared_error(one(1 + D), one(1)).item() == pytest.approx(D * D)
    assert loss.absolute_error(one(1), one(1 + D)).item() == pytest.approx(D)


@pytest.mark.parametrize("c", [0.01, 0.1, 1.0, 5.0])
def test_huber_and_smooth_l1(c: float) -> None:
    root = math.sqrt(D * D + c * c) - c
    assert loss.pseudo_huber(one(D), one(0), one(c)).item() == pytest.approx(2 * c * root, rel=1e-4)
    assert loss.smooth_l1(one(0), one(D), one(c)).item() == pytest.approx(2 * root, rel=1e-4)


def test_huber_is_l2_for_small_errors_and_linear_for_large_ones() -> None:
    assert loss.pseudo_huber(one(0.01), one(0), one(10)).item() == pytest.approx(1e-4, rel=0.02)
    assert loss.pseudo_huber(one(1000), one(0), one(0.1)).item() == pytest.approx(200, rel=1e-3)


def test_constant_width_has_the_scale() -> None:
    assert loss.constant_width(2, 0.1, 3.0).tolist() == pytest.approx([0.3, 0.3])


@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_exponential_width(t: int) -> None:
    got = loss.exponential_width(torch.tensor([t]), 0.1, 2.0, 1000).item()
    assert got == pytest.approx(2 * math.exp(math.log(0.1) / 1000 * t), rel=1e-5)


@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_snr_width(t: int) -> None:
    alpha = ALPHAS[t].item()
    sigma = math.sqrt((1 - alpha) / alpha)
    got = loss.snr_width(SNR[[t]], 0.1).item()
    assert got == pytest.approx((1 - 0.1) / (1 + sigma) ** 2 + 0.1, rel=1e-4)


def test_snr_width_of_pure_noise_is_huber_c() -> None:
    assert loss.snr_width(torch.zeros(1), 0.1).item() == pytest.approx(0.1)


@pytest.mark.parametrize("t", [0, 100, 500, 999])
@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr(t: int, gamma: float) -> None:
    snr = ALPHAS[t].item() / (1 - ALPHAS[t].item())
    epsilon = weighting.min_snr_epsilon(SNR[[t]], gamma).item()
    velocity = weighting.min_snr_velocity(SNR[[t]], gamma).item()
    assert epsilon == pytest.approx(min(snr, gamma) / snr, rel=1e-4)
    assert velocity == pytest.approx(min(snr, gamma) / (snr + 1), rel=1e-4)


@pytest.mark.parametrize("t", [0, 3, 100, 999])
def test_weights_that_join_both_predictions(t: int) -> None:
    snr = min(ALPHAS[t].item() / (1 - ALPHAS[t].item()), 1000.0)
    given = SNR[[t]]
    like_noise = weighting.velocity_loss_like_noise(given).item()
    assert like_noise == pytest.approx(snr / (snr + 1), rel=1e-4)
    added = weighting.with_velocity_like_loss(given, 0.3).item()
    assert added == pytest.approx(1 + 0.3 / (snr / (snr + 1)), rel=1e-4)
    assert weighting.debiased_epsilon(given).item() == pytest.approx(1 / math.sqrt(snr), rel=1e-4)
    assert weighting.debiased_velocity(given).item() == pytest.approx(1 / (snr + 1), rel=1e-4)


def test_the_snr_of_the_first_timesteps_is_above_the_limit() -> None:
    """So that the cases above see it limited."""
    assert SNR[0] > weighting.SNR_LIMIT > SNR[3]


def test_the_loss_in_v_weighed_as_noise_is_the_loss_in_noise() -> None:
    """The source of the formula: for one x_t, ε − ε̂ = √ᾱ·(v − v̂)."""
    t = 300
    root, rest = ALPHAS[t].sqrt(), (1 - ALPHAS[t]).sqrt()
    noise, picture, guess = torch.randn(3, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    noisy = root * picture + rest * noise
    guessed_picture = (noisy - rest * guess) / root
    in_velocity = (
        (root * noise - rest * picture) - (root * guess - rest * guessed_picture)
    ).square()
    weight = weighting.velocity_loss_like_noise(SNR[[t]])
    torch.testing.assert_close((noise - guess).square(), weight * in_velocity, rtol=1e-3, atol=1e-5)


def test_masked_means() -> None:
    elements = torch.arange(16.0).reshape(2, 2, 2, 2)
    mask = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    first = (0 * 1 + 1 * 0.5 + 4 * 1 + 5 * 0.5) / (2 * 1.5)
    assert loss.masked_mean(elements, mask).tolist() == pytest.approx([first, 0.0])
    assert loss.mean_of_masked(elements, mask).tolist() == pytest.approx([first * 3 / 8, 0.0])


def test_an_empty_mask_gives_no_gradient_and_no_nan() -> None:
    elements = torch.ones(1, 4, 2, 2, requires_grad=True)
    loss.masked_mean(elements, torch.zeros(1, 1, 2, 2)).sum().backward()
    assert torch.equal(elements.grad, torch.zeros_like(elements))


def test_signal_to_noise_ratio() -> None:
    assert signal_to_noise(torch.tensor([0.0, 0.5, 0.8])).tolist() == pytest.approx([0, 1, 4])


def test_weights_of_a_zero_terminal_snr_schedule_are_finite_and_continuous() -> None:
    snr = signal_to_noise(scaled_linear_alphas(zero_terminal_snr=True))
    epsilon = weighting.min_snr_epsilon(snr, 5.0)
    velocity = weighting.min_snr_velocity(snr, 5.0)
    assert torch.isfinite(epsilon).all()
    assert torch.isfinite(velocity).all()
    assert epsilon[-1].item() == 1.0
    assert epsilon[-2].item() == 1.0
    assert velocity[-1].item() == 0.0
    assert 0 < velocity[-2].item() < 0.01
