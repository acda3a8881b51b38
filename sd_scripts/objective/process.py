"""How noise is mixed in: the one place that knows a schedule. Other families add their own here.

`NoiseProcess` is all that the objective asks for; flow matching, which has no ᾱ, fits it with
x_t = (1−σ)·x_0 + σ·ε, target ε − x_0 and SNR = ((1−σ)/σ)².
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from sd_scripts.objective.target import add_noise, epsilon_target, velocity_target
from sd_scripts.objective.timesteps import sample_timesteps
from sd_scripts.weights.model_kinds import PredictionType


class NoiseProcess(Protocol):
    """A family's way from clean latents to what the model sees and must answer.

    Timesteps are [B] in the unit the model is given; latents and noise [B, C, h, w]; SNR [B].
    """

    num_timesteps: int

    def timesteps(self, seeds: Sequence[int], device: torch.device | str) -> Tensor:
        """Draw one timestep per sample from its own stream."""
        ...

    def noisy(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return the latents the model sees."""
        ...

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return what the model should predict."""
        ...

    def snr(self, timesteps: Tensor) -> Tensor:
        """Return the signal-to-noise ratio (a ratio of powers) at each timestep."""
        ...


def signal_to_noise(alphas_cumprod: Tensor) -> Tensor:
    """Return SNR = ᾱ / (1 − ᾱ), elementwise; 0 where ᾱ is 0 (the last zero-terminal-SNR step)."""
    return alphas_cumprod / (1.0 - alphas_cumprod)


class DiscreteDiffusion:
    """DDPM with a table of ᾱ [T]: Stable Diffusion 1, 2 and XL.

    `alphas_cumprod` (ᾱ, float32) falls from nearly 1 to nearly 0, or to exactly 0 where the
    schedule was rescaled for zero terminal SNR (https://arxiv.org/abs/2305.08891). `minimum` and
    `maximum` bound the timesteps drawn, [minimum, maximum).
    """

    def __init__(
        self,
        alphas_cumprod: Tensor,
        prediction_type: PredictionType,
        minimum: int = 0,
        maximum: int | None = None,
    ) -> None:
        self.num_timesteps = len(alphas_cumprod)
        self.prediction_type = prediction_type
        self.minimum = minimum
        self.maximum = self.num_timesteps if maximum is None else maximum
        assert 0 <= self.minimum < self.maximum <= self.num_timesteps
        alphas = alphas_cumprod.detach().to("cpu", torch.float32)
        self._root_alpha = alphas.sqrt()
        self._root_one_minus = (1.0 - alphas).sqrt()
        self._snr = signal_to_noise(alphas)

    def timesteps(self, seeds: Sequence[int], device: torch.device | str) -> Tensor:
        """Draw [B] int64 timesteps, uniform in the range."""
        return sample_timesteps(seeds, self.minimum, self.maximum, device)

    def noisy(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return x_t, same shape and dtype as `latents`."""
        return add_noise(latents, noise, *self._roots(latents, timesteps))

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return ε or v, by the model's prediction type."""
        if self.prediction_type == "v_prediction":
            return velocity_target(latents, noise, *self._roots(latents, timesteps))
        return epsilon_target(noise)

    def snr(self, timesteps: Tensor) -> Tensor:
        """Return SNR [B] float32 of the schedule in use (rescaled, if it was)."""
        self._follow(timesteps.device)
        return self._snr[timesteps]

    def _roots(self, latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return √ᾱ and √(1−ᾱ) at the timesteps, shaped to multiply the latents."""
        self._follow(timesteps.device)
        shape = (-1,) + (1,) * (latents.dim() - 1)
        root_alpha = self._root_alpha[timesteps].to(latents.dtype)
        root_one_minus = self._root_one_minus[timesteps].to(latents.dtype)
        return root_alpha.view(shape), root_one_minus.view(shape)

    def _follow(self, device: torch.device) -> None:
        """Keep the tables on the device that training runs on (moved once)."""
        if self._snr.device != device:
            self._root_alpha = self._root_alpha.to(device)
            self._root_one_minus = self._root_one_minus.to(device)
            self._snr = self._snr.to(device)
