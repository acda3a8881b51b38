"""Which timestep each sample is trained at: uniform in a half-open range, from its own stream."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sd_scripts.objective.noise import stream


def sample_timesteps(
    seeds: Sequence[int], minimum: int, maximum: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return [B] int64, each uniform in [minimum, maximum) (the upper end is never drawn)."""
    assert 0 <= minimum < maximum, f"empty timestep range [{minimum}, {maximum})"
    drawn = [
        torch.randint(minimum, maximum, (1,), generator=stream(seed, "timestep")) for seed in seeds
    ]
    return torch.cat(drawn).to(device, non_blocking=True)
