"""The composed objective: same numbers as stock diffusers, and open for parts not known here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from sd_scripts.families.latent_diffusion import scaled_linear_alphas
from sd_scripts.objective import noise as noises
from sd_scripts.objective.loss import squared_error
from sd_scripts.objective.noise import standard_normal
from sd_scripts.objective.objective import Objective, build_objective
from sd_scripts.objective.process import DiscreteDiffusion
from sd_scripts.options.groups.objective import ObjectiveOptions
from sd_scripts.weights.model_kinds import PredictionType

ALPHAS = scaled_linear_alphas(zero_terminal_snr=False)
SEEDS = [5, 6, 7]
ONES = torch.ones(3)


def objective(prediction_type: PredictionType = "epsilon", **settings: object) -> Objective:
    return build_objective(ObjectiveOptions.model_validate(settings), ALPHAS, prediction_type)


@pytest.fixture
def latents() -> Tensor:
    return standard_normal((4, 8, 8), [1, 2, 3], "test")


def test_noisy_and_targets_equal_stock_diffusers(latents: Tensor) -> None:
    stock = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    epsilon = objective().prepare(latents, SEEDS)
    velocity = objective("v_prediction").prepare(latents, SEEDS)
    assert torch.equal(epsilon.noise, velocity.noise)
    assert torch.equal(epsilon.timesteps, velocity.timesteps)
    expected = stock.add_noise(latents, epsilon.noise, epsilon.timesteps)
    assert torch.equal(epsilon.noisy, expected)
    assert torch.equal(epsilon.target, epsilon.noise)
    expected = stock.get_velocity(latents, velocity.noise, velocity.timesteps)
    assert torch.equal(velocity.target, expected)


ALL_NOISE: dict[str, object] = {
    "noise_offset": 0.1,
    "noise_offset_random_strength": True,
    "adaptive_noise_scale": 0.2,
    "multires_noise_iterations": 4,
    "ip_noise_gamma": 0.3,
    "ip_noise_gamma_random_strength": True,
}


@pytest.mark.parametrize("settings", [{"noise_offset": 0.1}, ALL_NOISE], ids=["offset", "all"])
def test_a_sample_is_prepared_the_same_alone_and_in_a_batch(
    latents: Tensor, settings: dict[str, object]
) -> None:
    parts = objective(**settings)
    together = parts.prepare(latents, SEEDS)
    for row in range(3):
        alone = parts.prepare(latents[row : row + 1], SEEDS[row : row + 1])
        for whole, single in zip(together, alone, strict=True):
            assert torch.equal(whole[row : row + 1], single)


def test_noise_offset_changes_noise_and_target_but_no_other_draw(latents: Tensor) -> None:
    plain, offset = (objective(noise_offset=o).prepare(latents, SEEDS) for o in (None, 0.2))
    assert torch.equal(plain.timesteps, offset.timesteps)
    assert torch.equal(offset.target, offset.noise)
    shift = (offset.noise - plain.noise).flatten(2)
    assert shift.abs().max() > 0.01
    torch.testing.assert_close(shift, shift[..., :1].expand_as(shift), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("on", "terms"),
    [
        (
            {"noise_offset": 0.2, "adaptive_noise_scale": 0.5},
            lambda noise, latents: noises.add_noise_offset(
                noise, SEEDS, noises.adaptive_strengths(latents, 0.2, 0.5)
            ),
        ),
        (
            {"noise_offset": 0.2, "noise_offset_random_strength": True},
            lambda noise, latents: noises.add_noise_offset(
                noise, SEEDS, noises.random_strengths(SEEDS, 0.2, "noise_offset_strength")
            ),
        ),
        (
            {"noise_offset": 0.2, "multires_noise_iterations": 3, "multires_noise_discount": 0.7},
            lambda noise, latents: noises.add_multires_noise(
                noises.add_noise_offset(noise, SEEDS, 0.2), SEEDS, 3, 0.7
            ),
        ),
    ],
    ids=["adaptive", "random", "pyramid over offset"],
)
def test_noise_terms_are_joined_in_order(
    latents: Tensor, on: dict[str, object], terms: Callable[[Tensor, Tensor], Tensor]
) -> None:
    plain, noised = objective().prepare(latents, SEEDS), objective(**on).prepare(latents, SEEDS)
    assert torch.equal(noised.noise, terms(plain.noise, latents))
    assert torch.equal(noised.target, noised.noise)
    assert torch.equal(noised.timesteps, plain.timesteps)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("is_random", [False, True])
def test_input_perturbation_changes_only_what_is_seen(
    latents: Tensor, prediction_type: PredictionType, is_random: bool
) -> None:
    plain = objective(prediction_type).prepare(latents, SEEDS)
    settings = {"ip_noise_gamma": 0.3, "ip_noise_gamma_random_strength": is_random}
    perturbed = objective(prediction_type, **settings).prepare(latents, SEEDS)
    assert torch.equal(perturbed.target, plain.target)
    assert torch.equal(perturbed.noise, plain.noise)
    strength = noises.random_strengths(SEEDS, 0.3, "ip_noise_strength") if is_random else 0.3
    seen = noises.perturb_noise(plain.noise, SEEDS, strength)
    expected = DiscreteDiffusion(ALPHAS, prediction_type).noisy(latents, seen, plain.timesteps)
    assert torch.equal(perturbed.noisy, expected)


@pytest.mark.parametrize(
    ("prediction_type", "on", "weight"),
    [
        ("v_prediction", {"scale_v_pred_loss_like_noise_pred": True}, lambda s: s / (s + 1)),
        ("epsilon", {"v_pred_like_loss": 0.5}, lambda s: 1 + 0.5 * (s + 1) / s),
        ("epsilon", {"debiased_estimation_loss": True}, lambda s: s**-0.5),
        ("v_prediction", {"debiased_estimation_loss": True}, lambda s: 1 / (s + 1)),
        (
            "epsilon",
            {"min_snr_gamma": 5, "v_pred_like_loss": 2, "debiased_estimation_loss": True},
            lambda s: min(s, 5) / s * (1 + 2 * (s + 1) / s) * s**-0.5,
        ),
    ],
)
def test_weights_of_each_prediction_type(
    latents: Tensor,
    prediction_type: PredictionType,
    on: dict[str, object],
    weight: Callable[[float], float],
) -> None:
    timesteps = torch.tensor([50, 500, 950])
    target = torch.zeros_like(latents)
    got = objective(prediction_type, **on).sample_losses(latents, target, timesteps, ONES)
    plain = objective(prediction_type).sample_losses(latents, target, timesteps, ONES)
    expected = [weight((ALPHAS[t] / (1 - ALPHAS[t])).item()) for t in timesteps.tolist()]
    assert (got / plain).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_weights_follow_the_rescaled_schedule(latents: Tensor, prediction_type: str) -> None:
    """sd-scripts takes them from the schedule before it is rescaled (its issue 1905)."""
    alphas = scaled_linear_alphas(zero_terminal_snr=True)
    options = ObjectiveOptions(min_snr_gamma=5.0)
    parts = build_objective(options, alphas, prediction_type)  # type: ignore[arg-type]
    timesteps = torch.tensor([800, 900, 990])
    zeros = torch.zeros_like(latents)
    got = parts.sample_losses(latents, zeros, timesteps, ONES) / latents.square().mean((1, 2, 3))
    snr = alphas[timesteps] / (1 - alphas[timesteps])
    expected = snr.clamp(max=5) / (snr if prediction_type == "epsilon" else snr + 1)
    torch.testing.assert_close(got, expected)
    assert not torch.allclose(snr, (ALPHAS / (1 - ALPHAS))[timesteps], rtol=0.1)


def test_timestep_range_is_honoured(latents: Tensor) -> None:
    parts = objective(min_timestep=300, max_timestep=302)
    seen = {t for start in range(0, 90, 3) for t in timesteps_of(parts, latents, start)}
    assert seen == {300, 301}


def timesteps_of(parts: Objective, latents: Tensor, start: int) -> list[int]:
    return parts.prepare(latents, range(start, start + 3)).timesteps.tolist()


def test_given_timesteps_are_used(latents: Tensor) -> None:
    fixed = torch.tensor([200, 400, 600])
    assert torch.equal(objective().prepare(latents, SEEDS, fixed).timesteps, fixed)


def test_pure_noise_at_the_terminal_step_of_a_zero_terminal_snr_model(latents: Tensor) -> None:
    alphas = scaled_linear_alphas(zero_terminal_snr=True)
    parts = build_objective(ObjectiveOptions(min_snr_gamma=5.0), alphas, "v_prediction")
    last = torch.full((3,), 999)
    prepared = parts.prepare(latents, SEEDS, last)
    assert torch.equal(prepared.noisy, prepared.noise)
    assert torch.equal(prepared.target, -latents)
    assert parts.loss(prepared.noisy, prepared.target, last, ONES).item() == 0.0


def test_plain_l2_is_the_mean_square(latents: Tensor) -> None:
    target = latents.flip(0)
    got = objective().loss(latents, target, torch.tensor([1, 2, 3]), ONES)
    assert got.item() == pytest.approx(((latents - target) ** 2).mean().item(), rel=1e-6)


def test_weights_multiply_per_sample_and_then_the_batch_is_averaged(latents: Tensor) -> None:
    timesteps = torch.tensor([10, 500, 900])
    target = torch.zeros_like(latents)
    weights = torch.tensor([1.0, 0.5, 2.0])
    got = objective(min_snr_gamma=5.0).loss(latents, target, timesteps, weights)
    expected = 0.0
    for row, t in enumerate(timesteps.tolist()):
        snr = (ALPHAS[t] / (1 - ALPHAS[t])).item()
        square = (latents[row] ** 2).mean().item()
        expected += square * weights[row].item() * min(snr, 5.0) / snr / 3
    assert got.item() == pytest.approx(expected, rel=1e-4)


def test_min_snr_follows_the_prediction_type(latents: Tensor) -> None:
    timesteps = torch.tensor([10, 10, 10])
    target = torch.zeros_like(latents)
    snr = (ALPHAS[10] / (1 - ALPHAS[10])).item()
    epsilon = objective(min_snr_gamma=5.0).loss(latents, target, timesteps, ONES)
    velocity = objective("v_prediction", min_snr_gamma=5.0).loss(latents, target, timesteps, ONES)
    assert (velocity / epsilon).item() == pytest.approx(snr / (snr + 1), rel=1e-4)


@pytest.mark.parametrize("loss_type", ["huber", "smooth_l1"])
@pytest.mark.parametrize("schedule", ["constant", "exponential", "snr"])
def test_huber_width_follows_its_schedule(loss_type: str, schedule: str) -> None:
    parts = objective(loss_type=loss_type, huber_schedule=schedule, huber_c=0.2, huber_scale=3.0)
    timesteps = torch.tensor([100, 800])
    prediction = torch.full((2, 4, 2, 2), 0.7)
    got = parts.sample_losses(prediction, torch.zeros_like(prediction), timesteps, torch.ones(2))
    for row, t in enumerate(timesteps.tolist()):
        sigma = ((1 - ALPHAS[t]) / ALPHAS[t]).sqrt().item()
        width = {
            "constant": 0.2 * 3.0,
            "exponential": 0.2 ** (t / 1000) * 3.0,
            "snr": (1 - 0.2) / (1 + sigma) ** 2 + 0.2,
        }[schedule]
        root = 2 * ((0.7**2 + width**2) ** 0.5 - width)
        expected = root * (width if loss_type == "huber" else 1)
        assert got[row].item() == pytest.approx(expected, rel=1e-4)


def test_half_precision_predictions_are_scored_in_float32(latents: Tensor) -> None:
    half = latents.to(torch.bfloat16)
    got = objective().sample_losses(half, latents, torch.tensor([1, 2, 3]), ONES)
    assert got.dtype == torch.float32
    expected = ((half.float() - latents) ** 2).mean(dim=(1, 2, 3))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(("mean", "factor"), [("area", 2.0), ("picture", 1.0)])
def test_what_a_masked_loss_is_averaged_over(latents: Tensor, mean: str, factor: float) -> None:
    """Half of the picture is masked out: its mean over the area is twice that over the picture."""
    mask = torch.zeros(3, 1, 8, 8)
    mask[..., :4] = 1
    target = torch.zeros_like(latents)
    parts = objective(masked_loss_mean=mean)
    got = parts.loss(latents, target, torch.tensor([1, 2, 3]), ONES, mask)
    assert got.item() == pytest.approx(factor * ((latents * mask) ** 2).mean().item(), rel=1e-6)


def test_gradient_of_l2_reaches_the_prediction(latents: Tensor) -> None:
    prediction = latents.clone().requires_grad_()
    target = torch.zeros_like(latents)
    objective().loss(prediction, target, torch.tensor([1, 2, 3]), ONES).backward()
    torch.testing.assert_close(prediction.grad, 2 * latents / latents.numel())


class RectifiedFlow:
    """A process without alphas_cumprod, as other families have: σ = t / 1000."""

    num_timesteps = 1000

    def timesteps(self, seeds: Sequence[int], device: torch.device | str) -> Tensor:
        return torch.sigmoid(standard_normal((1,), seeds, "timestep", device)[:, 0]) * 1000

    def noisy(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        sigma = (timesteps / 1000).view(-1, 1, 1, 1)
        return (1 - sigma) * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return noise - latents

    def snr(self, timesteps: Tensor) -> Tensor:
        sigma = timesteps / 1000
        return ((1 - sigma) / sigma) ** 2


def test_another_process_and_another_weighting_fit_without_a_change(latents: Tensor) -> None:
    parts = Objective(
        RectifiedFlow(),
        lambda prediction, target, timesteps, process: squared_error(prediction, target),
        weightings=(lambda snr: 1 / snr.sqrt(), lambda snr: torch.full_like(snr, 3.0)),
    )
    prepared = parts.prepare(latents, SEEDS)
    sigma = (prepared.timesteps / 1000).view(-1, 1, 1, 1)
    torch.testing.assert_close(prepared.noisy - sigma * prepared.target, latents)
    got = parts.sample_losses(prepared.noisy, prepared.target, prepared.timesteps, ONES)
    flat = sigma.flatten()
    square = ((prepared.noisy - prepared.target) ** 2).mean(dim=(1, 2, 3))
    torch.testing.assert_close(got, square * flat / (1 - flat) * 3)


def test_the_range_of_a_process_is_checked() -> None:
    with pytest.raises(AssertionError):
        DiscreteDiffusion(ALPHAS, "epsilon", 0, 1001)
