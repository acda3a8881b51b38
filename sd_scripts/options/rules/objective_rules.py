"""What must agree among the options of noise and loss, as far as no model has to be known."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.groups.model import ModelOptions
from sd_scripts.options.groups.objective import ObjectiveOptions
from sd_scripts.options.rules.registry import rule


@rule("noise_offset_random_strength", "noise_offset")
def random_offset_needs_offset(objective: ObjectiveOptions) -> Iterator[Problem]:
    """A random share of nothing is nothing."""
    if objective.noise_offset_random_strength and not objective.noise_offset:
        yield Problem(
            "there is no noise offset whose strength could be random",
            "noise_offset_random_strength, noise_offset",
            "set noise_offset, for example to 0.1, or switch the other off",
            severity="warning",
        )


@rule("adaptive_noise_scale", "noise_offset")
def adaptive_needs_offset(objective: ObjectiveOptions) -> Iterator[Problem]:
    """The adaptive part is added to an offset (sd-scripts refuses it alone, too)."""
    if objective.adaptive_noise_scale is not None and not objective.noise_offset:
        yield Problem(
            "there is no noise offset to adapt",
            "adaptive_noise_scale, noise_offset",
            "set noise_offset as well, usually to the same number, or empty adaptive_noise_scale",
        )


@rule("ip_noise_gamma_random_strength", "ip_noise_gamma")
def random_perturbation_needs_gamma(objective: ObjectiveOptions) -> Iterator[Problem]:
    """A random share of nothing is nothing."""
    if objective.ip_noise_gamma_random_strength and not objective.ip_noise_gamma:
        yield Problem(
            "there is no input perturbation whose strength could be random",
            "ip_noise_gamma_random_strength, ip_noise_gamma",
            "set ip_noise_gamma, for example to 0.1, or switch the other off",
            severity="warning",
        )


@rule("noise_offset", "multires_noise_iterations")
def one_large_scale_noise(objective: ObjectiveOptions) -> Iterator[Problem]:
    """Offset and pyramid add the same kind of noise."""
    if objective.noise_offset and objective.multires_noise_iterations:
        yield Problem(
            "noise offset and pyramid noise both add coarse noise; together they easily overdo it",
            "noise_offset, multires_noise_iterations",
            "keep one of the two",
            severity="warning",
        )


@rule("noise_offset", "zero_terminal_snr")
def offset_beside_zero_snr(objective: ObjectiveOptions) -> Iterator[Problem]:
    """Both are there for dark and bright pictures; pure noise at the end needs no offset."""
    if objective.noise_offset and objective.zero_terminal_snr:
        yield Problem(
            "with zero terminal SNR dark and bright pictures are learned anyway; a noise offset "
            "beside it shifts colours",
            "noise_offset, zero_terminal_snr",
            "empty noise_offset",
            severity="warning",
        )


@rule("min_snr_gamma", "debiased_estimation_loss")
def one_weighting(objective: ObjectiveOptions) -> Iterator[Problem]:
    """Two weightings by SNR multiply."""
    if objective.min_snr_gamma and objective.debiased_estimation_loss:
        yield Problem(
            "both weigh the loss by its noise, and the weights multiply",
            "min_snr_gamma, debiased_estimation_loss",
            "keep one of the two",
            severity="warning",
        )


@rule("scale_v_pred_loss_like_noise_pred", "v_pred_like_loss")
def one_kind_of_prediction(objective: ObjectiveOptions) -> Iterator[Problem]:
    """One is for models that predict v, the other for models that predict noise."""
    if objective.scale_v_pred_loss_like_noise_pred and objective.v_pred_like_loss:
        yield Problem(
            "one is only for models that predict v, the other only for models that predict noise",
            "scale_v_pred_loss_like_noise_pred, v_pred_like_loss",
            "keep the one for your model",
        )


@rule("v_pred_like_loss", "v_parameterization")
def velocity_has_its_loss(objective: ObjectiveOptions, model: ModelOptions) -> Iterator[Problem]:
    """A model that predicts v has the loss in v already."""
    if objective.v_pred_like_loss and model.v_parameterization:
        yield Problem(
            "a model that predicts v has the loss in v already",
            "v_pred_like_loss, v_parameterization",
            "empty v_pred_like_loss",
        )


@rule("scale_v_pred_loss_like_noise_pred", "v_parameterization")
def scaling_needs_velocity(objective: ObjectiveOptions, model: ModelOptions) -> Iterator[Problem]:
    """Without a prediction of v there is nothing to scale."""
    if objective.scale_v_pred_loss_like_noise_pred and model.v_parameterization is False:
        yield Problem(
            "the model is said to predict noise, so there is no loss in v to weigh",
            "scale_v_pred_loss_like_noise_pred, v_parameterization",
            "switch one of the two off, or leave v_parameterization to the model file",
        )


@rule("zero_terminal_snr", "v_parameterization")
def zero_snr_needs_velocity(objective: ObjectiveOptions, model: ModelOptions) -> Iterator[Problem]:
    """Out of pure noise there is no picture to be had by telling noise."""
    if objective.zero_terminal_snr and model.v_parameterization is False:
        yield Problem(
            "a model that predicts noise cannot begin at pure noise; zero terminal SNR is made for "
            "models that predict v",
            "zero_terminal_snr, v_parameterization",
            "switch zero_terminal_snr off",
            severity="warning",
        )
