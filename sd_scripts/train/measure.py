"""The loss of single pictures at fixed timesteps with fixed noise: what can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sd_scripts.data.batch import Batch
from sd_scripts.families.base import LoadedModel, TextConditioning
from sd_scripts.objective.objective import Objective
from sd_scripts.train.preview import inference

_NUM_TIMESTEPS = 4


def fixed_timesteps(timestep_range: tuple[int, int]) -> tuple[int, ...]:
    """Return four timesteps that part a range evenly: 200, 400, 600 and 800 of [0, 1000)."""
    first, end = timestep_range
    step = (end - first) / (_NUM_TIMESTEPS + 1)
    return tuple(int(first + step * number) for number in range(1, _NUM_TIMESTEPS + 1))


@dataclass(frozen=True)
class Measure:
    """How a model's loss is measured: as it is trained, but in inference form and without chance.

    `latents` and `text` turn a batch into what the U-Net is given; the model and what `learns` are
    switched to inference meanwhile (no dropout). No random stream of the training is touched.
    """

    model: LoadedModel
    objective: Objective
    latents: Callable[[Batch], Tensor]
    text: Callable[[Batch], TextConditioning]
    autocast: Callable[[], AbstractContextManager[Any]]
    dtype: torch.dtype
    device: torch.device
    learns: nn.Module

    def losses(self, batch: Batch, timesteps: Sequence[int]) -> Tensor:
        """Return each picture's loss at each timestep: [T, B] float32, on the CPU."""
        family, batch = self.model.family, batch.to(self.device)
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(inference(self.learns, *self._model_parts))
            latents = self.latents(batch)
            extra = family.conditioning_inputs(
                batch.original_sizes, batch.crop_top_lefts, batch.target_sizes
            )
            with self.autocast():
                text = self.text(batch)
            rows = [self._row(batch, latents, (text, extra), time) for time in timesteps]
        return torch.stack(rows).cpu()

    @property
    def _model_parts(self) -> list[nn.Module]:
        return [self.model.unet, *self.model.text_encoders]

    def _row(
        self,
        batch: Batch,
        latents: Tensor,
        told: tuple[TextConditioning, dict[str, Tensor]],
        timestep: int,
    ) -> Tensor:
        times = torch.full((len(batch),), timestep, device=latents.device)
        prepared = self.objective.prepare(latents, batch.noise_seeds, times)
        with self.autocast():
            prediction = self.model.family.predict(
                self.model, prepared.noisy.to(self.dtype), times, *told
            )
        ones = torch.ones(len(batch))
        return self.objective.sample_losses(prediction, prepared.target, times, ones, batch.masks)
