"""Each sampler name works for few and many steps, for both prediction types."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from sd_scripts.train.prompts import SAMPLERS
from sd_scripts.train.samplers import SCHEDULERS, make_sampler


def test_every_known_name_has_a_scheduler() -> None:
    assert {name.removeprefix("k_") for name in SAMPLERS} == set(SCHEDULERS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("num_steps", [1, 5])
@pytest.mark.parametrize(
    ("prediction_type", "zero_terminal_snr"),
    [("epsilon", False), ("v_prediction", False), ("v_prediction", True)],
)
def test_sampler_denoises_a_known_picture(
    name: str, num_steps: int, prediction_type: str, zero_terminal_snr: bool
) -> None:
    """A model that always knows the clean latents must be led to them."""
    sampler: Any = make_sampler(
        name, prediction_type=prediction_type, zero_terminal_snr=zero_terminal_snr
    )
    sampler.set_timesteps(num_steps)
    assert sampler.config.prediction_type == prediction_type
    generator = torch.Generator().manual_seed(0)
    clean = torch.full((1, 4, 4, 4), 0.7)
    latents = torch.randn(clean.shape, generator=generator) * sampler.init_noise_sigma
    takes_generator = "generator" in inspect.signature(sampler.step).parameters
    settings = {"generator": generator} if takes_generator else {}
    alphas = sampler.alphas_cumprod
    for time in sampler.timesteps:
        given = sampler.scale_model_input(latents, time)
        alpha = alphas[int(time)].clamp(1e-8, 1 - 1e-8)
        noise = (given - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        answer = noise if prediction_type == "epsilon" else velocity
        latents = sampler.step(answer, time, latents, **settings, return_dict=False)[0]
    assert torch.isfinite(latents).all()
    if num_steps > 1 and not zero_terminal_snr:
        assert (latents - clean).abs().mean() < 0.25
