"""Noise and timesteps come from each sample's own stream, whatever batch it is in."""

from __future__ import annotations

import pytest
import torch

from sd_scripts.objective.noise import add_noise_offset, sample_noise, standard_normal, stream
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
