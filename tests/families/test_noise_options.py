"""Options of noise and loss against what the model was found to be."""

from __future__ import annotations

import pytest

from sd_scripts.families.detect import ResolvedModel
from sd_scripts.families.noise_options import resolve_noise
from sd_scripts.options.groups.objective import ObjectiveOptions
from sd_scripts.weights.model_kinds import PredictionType


def resolve(
    prediction: PredictionType, zero_snr: bool, **settings: object
) -> tuple[bool, list[tuple[str, str | None]]]:
    """Whether zero terminal SNR is trained, and severities and options of what is told."""
    model = ResolvedModel("sdxl", prediction, zero_snr)
    resolved, problems = resolve_noise(model, ObjectiveOptions.model_validate(settings))
    assert (resolved.family, resolved.prediction_type) == ("sdxl", prediction)
    assert all(problem.hint for problem in problems)
    return resolved.zero_terminal_snr, [(told.severity, told.option) for told in problems]


def test_detection_holds_and_the_option_adds_to_it() -> None:
    assert resolve("v_prediction", False) == (False, [])
    assert resolve("v_prediction", True) == (True, [])
    assert resolve("v_prediction", True, zero_terminal_snr=True) == (True, [])
    told = [("warning", "zero_terminal_snr")]
    assert resolve("v_prediction", False, zero_terminal_snr=True) == (True, told)
    assert resolve("epsilon", False, zero_terminal_snr=True) == (True, told)


def test_a_noise_offset_beside_a_detected_zero_terminal_snr_is_told() -> None:
    assert resolve("v_prediction", True, noise_offset=0.1)[1] == [("warning", "noise_offset")]
    assert resolve("epsilon", False, noise_offset=0.1)[1] == []


@pytest.mark.parametrize(
    ("prediction", "settings"),
    [
        ("epsilon", {"scale_v_pred_loss_like_noise_pred": True}),
        ("v_prediction", {"v_pred_like_loss": 1.0}),
    ],
)
def test_weights_for_the_other_prediction_are_refused(
    prediction: PredictionType, settings: dict[str, object]
) -> None:
    (option,) = settings
    assert resolve(prediction, False, **settings)[1] == [("error", option)]
    other: PredictionType = "epsilon" if prediction == "v_prediction" else "v_prediction"
    assert resolve(other, False, **settings)[1] == []


@pytest.mark.parametrize("option", ["v_pred_like_loss", "debiased_estimation_loss"])
def test_weights_that_have_no_value_at_pure_noise_are_refused(option: str) -> None:
    settings = {option: True if option.startswith("debiased") else 0.5}
    assert resolve("epsilon", True, **settings)[1] == [("error", f"{option}, zero_terminal_snr")]
    assert resolve("epsilon", True, max_timestep=999, **settings)[1] == []
    assert resolve("epsilon", False, **settings)[1] == []


def test_debiased_estimation_is_fine_for_velocity_with_zero_terminal_snr() -> None:
    assert resolve("v_prediction", True, debiased_estimation_loss=True)[1] == []
