"""Options of noise and loss meet the model: what it was found to be, and what they ask of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sd_scripts.errors import Problem
from sd_scripts.families.detect import ResolvedModel
from sd_scripts.options.groups.objective import NUM_TIMESTEPS, ObjectiveOptions


def resolve_noise(
    model: ResolvedModel, options: ObjectiveOptions
) -> tuple[ResolvedModel, tuple[Problem, ...]]:
    """Say what the job takes the model for, and what is wrong or worth knowing about it.

    `zero_terminal_snr` adds to what the file says, and never takes it away: off is its default.
    Noise, loss weights and previews all follow from the result.
    """
    resolved = model
    if options.zero_terminal_snr:
        resolved = replace(model, zero_terminal_snr=True)
    return resolved, tuple(_problems(model, resolved, options))


def _problems(
    found: ResolvedModel, taken: ResolvedModel, options: ObjectiveOptions
) -> Iterator[Problem]:
    predicts_velocity = taken.prediction_type == "v_prediction"
    if options.zero_terminal_snr and not found.zero_terminal_snr:
        yield _overridden(predicts_velocity=predicts_velocity)
    if options.noise_offset and taken.zero_terminal_snr and not options.zero_terminal_snr:
        yield Problem(
            "the model was made with zero terminal SNR, so it learns dark and bright pictures "
            "anyway; a noise offset beside it shifts colours",
            "noise_offset",
            "empty noise_offset",
            "warning",
        )
    if options.scale_v_pred_loss_like_noise_pred and not predicts_velocity:
        yield Problem(
            "the model predicts noise, so there is no loss in v to weigh",
            "scale_v_pred_loss_like_noise_pred",
            "switch it off, or set v_parameterization if the model does predict v",
        )
    if options.v_pred_like_loss and predicts_velocity:
        yield Problem(
            "the model predicts v, so it has the loss in v already", "v_pred_like_loss", "empty it"
        )
    if taken.zero_terminal_snr and not predicts_velocity:
        yield from _unbounded_weights(options)


def _overridden(*, predicts_velocity: bool) -> Problem:
    if predicts_velocity:
        message = (
            "the model file does not say that it was made with zero terminal SNR; it is trained "
            "so, as zero_terminal_snr asks"
        )
    else:
        message = (
            "zero terminal SNR is made for models that predict v; this one predicts noise, and "
            "cannot begin at pure noise. It is trained so, as zero_terminal_snr asks"
        )
    return Problem(message, "zero_terminal_snr", "switch it off if that is not meant", "warning")


def _unbounded_weights(options: ObjectiveOptions) -> Iterator[Problem]:
    """Weights by 1/SNR have no value where the SNR is zero: at the last timestep."""
    _, end = options.timestep_range
    if end < NUM_TIMESTEPS:
        return
    chosen = {
        "v_pred_like_loss": options.v_pred_like_loss,
        "debiased_estimation_loss": options.debiased_estimation_loss,
    }
    for name, value in chosen.items():
        if value:
            yield Problem(
                "its weight is infinite at the last timestep of zero terminal SNR",
                f"{name}, zero_terminal_snr",
                f"set max_timestep to {NUM_TIMESTEPS - 1}, or switch one of the two off",
            )
