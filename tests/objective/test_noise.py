"""Noise and timesteps come from each sample's own stream, whatever batch it is in."""

from __future__ import annotations

import pytest
import torch

from sd_scripts.objective.noise import (
    adaptive_strengths,
    add_multires_noise,
    add_noise_offset,
    perturb_noise,
    random_strengths,
    sample_noise,
    standard_normal,
    stream,
)
from sd_scripts.objective.timesteps import sample_timesteps

SEEDS = [11, 2**62 + 5, 7, 11]


def test_noise_does_not_depend_on_the_batch() -> None:
    together = sample_noise((4, 4, 8, 6), SEEDS)
    alone = torch.cat([sample_noise((1, 4, 8, 6), [seed]) for seed in SEEDS])
    assert torch.equal(together, alone)
    assert torch.equal(together[0], together[3])
    assert not torch.equal(together[0], together[1])


def test_noise_is_standard_normal_and_independent_between_samples() -> None:
    noise = sample_noise((64, 4, 32, 32), range(64))
    assert noise.mean().abs() < 0.01
    assert (noise.std() - 1).abs() < 0.01
    flat = noise.flatten(1)
    correlation = torch.corrcoef(flat) - torch.eye(64)
    assert correlation.abs().max() < 0.1


def test_one_seed_per_sample() -> None:
    with pytest.raises(AssertionError):
        sample_noise((3, 4, 8, 8), [1, 2])


def test_noise_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    sample_noise((2, 4, 8, 8), [1, 2])
    sample_timesteps([1, 2], 0, 1000)
    assert torch.equal(before, torch.get_rng_state())


def test_purposes_and_large_seeds_are_different_streams() -> None:
    draws = {
        torch.randint(0, 2**62, (1,), generator=stream(seed, purpose)).item()
        for seed in (0, 1, 2**32, 2**62)
        for purpose in ("noise", "timestep", "noise_offset")
    }
    assert len(draws) == 12


def test_noise_offset_adds_one_value_per_sample_and_channel() -> None:
    noise = sample_noise((4, 4, 8, 8), SEEDS)
    shift = add_noise_offset(noise, SEEDS, 0.1) - noise
    expected = 0.1 * standard_normal((4, 1, 1), SEEDS, "noise_offset")
    torch.testing.assert_close(shift, expected.expand_as(noise), atol=1e-6, rtol=0)
    assert expected.flatten().unique().numel() == 12  # seeds 0 and 3 are the same sample
    assert torch.equal(add_noise_offset(noise, SEEDS, 0.0), noise)


def test_random_strengths_are_uniform_and_each_sample_s_own() -> None:
    drawn = random_strengths(range(2000), 0.4, "test")
    assert drawn.shape == (2000, 1, 1, 1)
    assert 0 <= drawn.min() < 0.001
    assert 0.399 < drawn.max() < 0.4
    assert drawn.mean().item() == pytest.approx(0.2, abs=0.01)
    assert torch.equal(drawn[7:8], random_strengths([7], 0.4, "test"))


@pytest.mark.parametrize(("strength", "scale"), [(0.1, 0.5), (0.1, -0.5), (0.0, 0.2)])
def test_adaptive_strengths(strength: float, scale: float) -> None:
    latents = torch.stack([torch.full((2, 3, 5), 1.0), torch.full((2, 3, 5), -0.1)])
    got = adaptive_strengths(latents, strength, scale)
    expected = [max(0.0, strength + scale * mean) for mean in (1.0, 1.0, 0.1, 0.1)]
    assert got.shape == (2, 2, 1, 1)
    assert got.flatten().tolist() == pytest.approx(expected)


def test_multires_noise_is_the_formula() -> None:
    noise = sample_noise((2, 4, 16, 24), [1, 2])
    got = add_multires_noise(noise, [1, 2], 3, 0.5)
    for row, seed in enumerate((1, 2)):
        generator = stream(seed, "multires_noise")
        total = noise[row].clone()
        for level in range(3):
            factor = (torch.rand(1, generator=generator).item() * 2 + 2) ** level
            low, wide = max(1, int(16 / factor)), max(1, int(24 / factor))
            coarse = torch.randn(1, 4, low, wide, generator=generator)
            up = torch.nn.Upsample(size=(16, 24), mode="bilinear")(coarse)[0]
            total += up * 0.5**level
        torch.testing.assert_close(got[row], total / total.std())


def test_multires_noise_is_of_unit_strength_and_does_not_depend_on_the_batch() -> None:
    noise = sample_noise((4, 4, 32, 32), SEEDS)
    together = add_multires_noise(noise, SEEDS, 10, 0.8)
    alone = [add_multires_noise(n[None], [s], 10, 0.8) for n, s in zip(noise, SEEDS, strict=True)]
    assert torch.equal(together, torch.cat(alone))
    torch.testing.assert_close(together.flatten(1).std(dim=1), torch.ones(4))
    coarse = torch.nn.functional.avg_pool2d(together, 16).std()
    assert coarse > 3 * torch.nn.functional.avg_pool2d(noise, 16).std()


def test_multires_noise_ends_at_one_latent() -> None:
    """Levels that would be smaller than a latent are not drawn: more of them change nothing."""
    noise = sample_noise((1, 4, 4, 4), [3])
    few, many = (add_multires_noise(noise, [3], levels, 0.5) for levels in (4, 50))
    assert torch.equal(few, many)


def test_perturbed_noise_has_more_power_and_the_same_noise_in_it() -> None:
    noise = sample_noise((8, 4, 32, 32), range(8))
    extra = (perturb_noise(noise, range(8), 0.5) - noise) / 0.5
    torch.testing.assert_close(extra, standard_normal((4, 32, 32), range(8), "ip_noise"))
    assert torch.corrcoef(torch.stack([extra.flatten(), noise.flatten()]))[0, 1].abs() < 0.02


def test_timesteps_stay_in_the_half_open_range_and_reach_both_ends() -> None:
    drawn = sample_timesteps(range(3000), 10, 14)
    assert drawn.dtype == torch.int64
    assert set(drawn.tolist()) == {10, 11, 12, 13}
    counts = drawn.bincount()[10:]
    assert (counts - 750).abs().max() < 150


def test_timesteps_do_not_depend_on_the_batch() -> None:
    together = sample_timesteps(SEEDS, 0, 1000)
    assert together.tolist() == [sample_timesteps([seed], 0, 1000).item() for seed in SEEDS]


def test_an_empty_timestep_range_is_refused() -> None:
    with pytest.raises(AssertionError):
        sample_timesteps([1], 5, 5)
