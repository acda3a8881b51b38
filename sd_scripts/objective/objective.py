"""The training objective: noise terms that add, one loss, weightings that multiply.

`prepare` says what the model sees and must answer; `loss` scores the answer. Both know only the
`NoiseProcess`, never a schedule, so that a new family, noise term or weighting is one more part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from sd_scripts.objective import loss as losses
from sd_scripts.objective import weighting
from sd_scripts.objective.noise import add_noise_offset, sample_noise
from sd_scripts.objective.process import DiscreteDiffusion, NoiseProcess
from sd_scripts.options.groups.objective import ObjectiveOptions
from sd_scripts.weights.model_kinds import PredictionType

NoiseTerm = Callable[[Tensor, Sequence[int]], Tensor]
"""(noise [B, C, h, w], seeds) → noise: an addition that the target keeps too."""

ElementLoss = Callable[[Tensor, Tensor, Tensor, NoiseProcess], Tensor]
"""(prediction, target, timesteps, process) → loss [B, C, h, w], all float32."""

Weighting = Callable[[Tensor], Tensor]
"""SNR [B] → weight [B]."""


class Prepared(NamedTuple):
    """What one step needs: noisy, target and noise [B, C, h, w], timesteps [B]."""

    noisy: Tensor
    timesteps: Tensor
    target: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Objective:
    """Noise, target, loss and weights of a job, composed of independent parts."""

    process: NoiseProcess
    element_loss: ElementLoss
    noise_terms: tuple[NoiseTerm, ...] = ()
    weightings: tuple[Weighting, ...] = ()

    def prepare(
        self, latents: Tensor, seeds: Sequence[int], timesteps: Tensor | None = None
    ) -> Prepared:
        """Noise clean latents [B, C, h, w], each sample from the streams of its own seed.

        `timesteps` [B] are drawn unless given (validation gives fixed ones). No gradient is
        needed here, none is recorded.
        """
        with torch.no_grad():
            noise = sample_noise(latents.shape, seeds, latents.device).to(latents.dtype)
            for term in self.noise_terms:
                noise = term(noise, seeds)
            if timesteps is None:
                timesteps = self.process.timesteps(seeds, latents.device)
            noisy = self.process.noisy(latents, noise, timesteps)
            target = self.process.target(latents, noise, timesteps)
        return Prepared(noisy, timesteps, target, noise)

    def sample_losses(
        self,
        prediction: Tensor,
        target: Tensor,
        timesteps: Tensor,
        loss_weights: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return each sample's weighted loss [B] float32.

        Order: elementwise loss × mask ([B, 1, h, w], if given) → mean over C, h, w
        → × `loss_weights` [B] (regularisation pictures) → × every weighting.
        """
        elements = self.element_loss(prediction.float(), target.float(), timesteps, self.process)
        if mask is not None:
            elements = elements * mask
        result = elements.mean(dim=tuple(range(1, elements.dim())))
        result = result * loss_weights.to(result.device)
        if self.weightings:
            snr = self.process.snr(timesteps)
            for weight in self.weightings:
                result = result * weight(snr)
        return result

    def loss(
        self,
        prediction: Tensor,
        target: Tensor,
        timesteps: Tensor,
        loss_weights: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return the batch mean of `sample_losses`, a scalar."""
        return self.sample_losses(prediction, target, timesteps, loss_weights, mask).mean()


def build_objective(
    options: ObjectiveOptions, alphas_cumprod: Tensor, prediction_type: PredictionType
) -> Objective:
    """Compose the objective of a Stable Diffusion job.

    `alphas_cumprod` [T] is the schedule the model really uses: rescaled, for a zero-terminal-SNR
    model; noise, target and SNR weights all follow from this one table.
    """
    process = DiscreteDiffusion(alphas_cumprod, prediction_type, *options.timestep_range)
    noise_terms: list[NoiseTerm] = []
    if options.noise_offset:
        noise_terms.append(partial(add_noise_offset, strength=options.noise_offset))
    weightings: list[Weighting] = []
    if options.min_snr_gamma:
        weightings.append(_min_snr(prediction_type, options.min_snr_gamma))
    return Objective(process, _element_loss(options), tuple(noise_terms), tuple(weightings))


MIN_SNR: dict[PredictionType, Callable[[Tensor, float], Tensor]] = {
    "epsilon": weighting.min_snr_epsilon,
    "v_prediction": weighting.min_snr_velocity,
}
PLAIN_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": losses.squared_error,
    "l1": losses.absolute_error,
}
HUBER_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "huber": losses.pseudo_huber,
    "smooth_l1": losses.smooth_l1,
}


def _min_snr(prediction_type: PredictionType, gamma: float) -> Weighting:
    formula = MIN_SNR[prediction_type]
    return lambda snr: formula(snr, gamma)


def _element_loss(options: ObjectiveOptions) -> ElementLoss:
    if options.loss_type in PLAIN_LOSSES:
        plain = PLAIN_LOSSES[options.loss_type]
        return lambda prediction, target, timesteps, process: plain(prediction, target)
    huber = HUBER_LOSSES[options.loss_type]
    huber_c, scale, schedule = options.huber_c, options.huber_scale, options.huber_schedule

    def width(timesteps: Tensor, process: NoiseProcess) -> Tensor:
        if schedule == "constant":
            return losses.constant_width(len(timesteps), huber_c, scale)
        if schedule == "exponential":
            return losses.exponential_width(timesteps, huber_c, scale, process.num_timesteps)
        return losses.snr_width(process.snr(timesteps), huber_c)

    def element_loss(
        prediction: Tensor, target: Tensor, timesteps: Tensor, process: NoiseProcess
    ) -> Tensor:
        c = width(timesteps, process).to(prediction.device)
        return huber(prediction, target, c.view((-1,) + (1,) * (prediction.dim() - 1)))

    return element_loss
