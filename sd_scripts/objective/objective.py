"""The training objective: noise terms that add, one loss, weightings that multiply.

`prepare` says what the model sees and must answer; `loss` scores the answer. Both know only the
`NoiseProcess`, never a schedule, so that a new family, noise term or weighting is one more part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sd_scripts.objective import loss as losses
from sd_scripts.objective import noise as noises
from sd_scripts.objective import weighting
from sd_scripts.objective.noise import sample_noise
from sd_scripts.objective.process import DiscreteDiffusion, NoiseProcess
from sd_scripts.options.groups.objective import ObjectiveOptions
from sd_scripts.weights.model_kinds import PredictionType

NoiseTerm = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""(noise, latents, both [B, C, h, w], seeds) → noise."""

ElementLoss = Callable[[Tensor, Tensor, Tensor, NoiseProcess], Tensor]
"""(prediction, target, timesteps, process) → loss [B, C, h, w], all float32."""

Weighting = Callable[[Tensor], Tensor]
"""SNR [B] → weight [B]."""

MaskedMean = Callable[[Tensor, Tensor], Tensor]
"""(loss [B, C, h, w], mask [B, 1, h, w]) → mean [B]."""


class Prepared(NamedTuple):
    """What one step needs: noisy, target and noise [B, C, h, w], timesteps [B]."""

    noisy: Tensor
    timesteps: Tensor
    target: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Objective:
    """Noise, target, loss and weights of a job, composed of independent parts.

    `noise_terms` change the noise that the target keeps too; `input_terms` only what is mixed into
    the latents that the model sees.
    """

    process: NoiseProcess
    element_loss: ElementLoss
    noise_terms: tuple[NoiseTerm, ...] = ()
    input_terms: tuple[NoiseTerm, ...] = ()
    weightings: tuple[Weighting, ...] = ()
    masked_mean: MaskedMean = losses.masked_mean

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
                noise = term(noise, latents, seeds)
            seen = noise
            for term in self.input_terms:
                seen = term(seen, latents, seeds)
            if timesteps is None:
                timesteps = self.process.timesteps(seeds, latents.device)
            noisy = self.process.noisy(latents, seen, timesteps)
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

        Order: elementwise loss → mean over C, h, w (with a mask [B, 1, h, w]: its `masked_mean`)
        → × `loss_weights` [B] (regularisation pictures) → × every weighting.
        """
        elements = self.element_loss(prediction.float(), target.float(), timesteps, self.process)
        if mask is None:
            result = elements.mean(dim=tuple(range(1, elements.dim())))
        else:
            result = self.masked_mean(elements, mask.to(elements.device))
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
    return Objective(
        DiscreteDiffusion(alphas_cumprod, prediction_type, *options.timestep_range),
        _element_loss(options),
        tuple(_noise_terms(options)),
        tuple(_input_terms(options)),
        tuple(_weightings(options, prediction_type)),
        MASKED_MEANS[options.masked_loss_mean],
    )


MIN_SNR: dict[PredictionType, Callable[[Tensor, float], Tensor]] = {
    "epsilon": weighting.min_snr_epsilon,
    "v_prediction": weighting.min_snr_velocity,
}
DEBIASED: dict[PredictionType, Weighting] = {
    "epsilon": weighting.debiased_epsilon,
    "v_prediction": weighting.debiased_velocity,
}
MASKED_MEANS: dict[str, MaskedMean] = {
    "area": losses.masked_mean,
    "picture": losses.mean_of_masked,
}
PLAIN_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": losses.squared_error,
    "l1": losses.absolute_error,
}
HUBER_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "huber": losses.pseudo_huber,
    "smooth_l1": losses.smooth_l1,
}


def _noise_terms(options: ObjectiveOptions) -> Iterator[NoiseTerm]:
    """Yield the terms in sd-scripts' order: offset, then the pyramid, which divides by all."""
    if options.noise_offset:
        yield _noise_offset(options, options.noise_offset)
    if iterations := options.multires_noise_iterations:
        discount = options.multires_noise_discount
        yield lambda noise, latents, seeds: noises.add_multires_noise(
            noise, seeds, iterations, discount
        )


def _noise_offset(options: ObjectiveOptions, most: float) -> NoiseTerm:
    is_random, scale = options.noise_offset_random_strength, options.adaptive_noise_scale

    def term(noise: Tensor, latents: Tensor, seeds: Sequence[int]) -> Tensor:
        strength: float | Tensor = most
        if is_random:
            purpose = "noise_offset_strength"
            strength = noises.random_strengths(seeds, most, purpose, noise.device)
        if scale is not None:
            strength = noises.adaptive_strengths(latents, strength, scale)
        return noises.add_noise_offset(noise, seeds, strength)

    return term


def _input_terms(options: ObjectiveOptions) -> Iterator[NoiseTerm]:
    most, is_random = options.ip_noise_gamma, options.ip_noise_gamma_random_strength
    if not most:
        return

    def term(noise: Tensor, latents: Tensor, seeds: Sequence[int]) -> Tensor:
        strength: float | Tensor = most
        if is_random:
            strength = noises.random_strengths(seeds, most, "ip_noise_strength", noise.device)
        return noises.perturb_noise(noise, seeds, strength)

    yield term


def _weightings(options: ObjectiveOptions, prediction_type: PredictionType) -> Iterator[Weighting]:
    """Yield the weights in sd-scripts' order; since they multiply, it changes rounding only."""
    if gamma := options.min_snr_gamma:
        formula = MIN_SNR[prediction_type]
        yield lambda snr: formula(snr, gamma)
    if options.scale_v_pred_loss_like_noise_pred:
        yield weighting.velocity_loss_like_noise
    if share := options.v_pred_like_loss:
        yield lambda snr: weighting.with_velocity_like_loss(snr, share)
    if options.debiased_estimation_loss:
        yield DEBIASED[prediction_type]


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
