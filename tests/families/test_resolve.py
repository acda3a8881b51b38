"""Prediction type and family: facts before options, options before guesses, always with words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from sd_scripts.errors import Problem, UserError
from sd_scripts.families.detect import FamilyName, ModelInfo, inspect_model, resolve_model
from tests.families.conftest import Stored
from tests.support.tiny_models import make_tiny_checkpoint

EMPTY = torch.tensor([])


def told(info: ModelInfo) -> tuple[str | None, bool, bool]:
    return info.prediction_type, info.prediction_certain, info.zero_terminal_snr


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_usual_prediction_is_a_guess(tmp_path: Path, family: FamilyName) -> None:
    info = inspect_model(make_tiny_checkpoint(family, tmp_path / "m.safetensors"))
    assert told(info) == ("epsilon", False, False)
    assert resolve_model(info)[1] == ()


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ({"v_pred": EMPTY}, ("v_prediction", True, False)),
        ({"v_pred": EMPTY, "ztsnr": EMPTY}, ("v_prediction", True, True)),
        ({"ztsnr": EMPTY}, ("v_prediction", False, True)),
    ],
)
def test_marker_tensors(tmp_path: Path, marks: dict, expected: tuple) -> None:
    path = make_tiny_checkpoint("sdxl", tmp_path / "m.safetensors", extra=marks)
    assert told(inspect_model(path)) == expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("modelspec.prediction_type", "v", "v_prediction"),
        ("modelspec.prediction_type", "v_prediction", "v_prediction"),
        ("modelspec.prediction_type", "epsilon", "epsilon"),
        ("modelspec.architecture", "stable-diffusion-v2-768-v", "v_prediction"),
        ("modelspec.architecture", "stable-diffusion-v2-512", "epsilon"),
    ],
)
def test_metadata(tmp_path: Path, key: str, value: str, expected: str) -> None:
    path = make_tiny_checkpoint("sd2", tmp_path / "m.safetensors", metadata={key: value})
    info = inspect_model(path)
    assert told(info) == (expected, True, False)
    assert key in info.prediction_source


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("v2-1_768-ema-pruned", "v_prediction"),
        ("768-v-ema", "v_prediction"),
        ("v2-1_512-ema-pruned", "epsilon"),
        ("512-base-ema", "epsilon"),
        ("my_model_vpred", "v_prediction"),
        ("my model", "v_prediction"),
    ],
)
def test_sd2_is_guessed_with_a_warning(tmp_path: Path, name: str, expected: str) -> None:
    info = inspect_model(make_tiny_checkpoint("sd2", tmp_path / f"{name}.safetensors"))
    assert told(info) == (expected, False, False)
    resolved, (warning,) = resolve_model(info)
    assert resolved is not None
    assert resolved.prediction_type == expected
    assert warning.severity == "warning"
    assert "v_parameterization" in (warning.option or "")
    assert "v_parameterization" in (warning.hint or "")


def test_sd2_base_is_known_by_its_training_step(tmp_path: Path, sd2: Stored) -> None:
    from safetensors.torch import load_file

    tensors = load_file(sd2.file)
    torch.save({"state_dict": tensors, "global_step": 875000}, tmp_path / "model.ckpt")
    assert told(inspect_model(tmp_path / "model.ckpt")) == ("epsilon", False, False)


def test_sdxl_name_alone_is_a_hint(tmp_path: Path) -> None:
    path = make_tiny_checkpoint("sdxl", tmp_path / "noob_v-pred_1.safetensors")
    assert told(inspect_model(path)) == ("v_prediction", False, False)


def folder_with(stored: Stored, path: Path, **changes: object) -> Path:
    shutil.copytree(stored.folder, path)
    file = path / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return path


def test_scheduler_configuration_is_a_fact(tmp_path: Path, sdxl: Stored) -> None:
    path = folder_with(
        sdxl, tmp_path / "m", prediction_type="v_prediction", rescale_betas_zero_snr=True
    )
    assert told(inspect_model(path)) == ("v_prediction", True, True)
    assert told(inspect_model(sdxl.folder)) == ("epsilon", True, False)


def test_unknown_prediction_type_is_refused(tmp_path: Path, sdxl: Stored) -> None:
    path = folder_with(sdxl, tmp_path / "m", prediction_type="flow")
    with pytest.raises(UserError, match="flow"):
        inspect_model(path)


def resolved_type(info: ModelInfo, asked: bool) -> tuple[str, tuple[Problem, ...]]:
    resolved, problems = resolve_model(info, v_parameterization=asked)
    assert resolved is not None
    return resolved.prediction_type, problems


def test_option_wins_over_a_guess_and_says_so(tmp_path: Path) -> None:
    info = inspect_model(make_tiny_checkpoint("sdxl", tmp_path / "m.safetensors"))
    assert resolved_type(info, False) == ("epsilon", ())
    kind, (warning,) = resolved_type(info, True)
    assert kind == "v_prediction"
    assert warning.severity == "warning"
    assert "v-prediction" in warning.message
    assert "noise prediction" in warning.message


def test_option_settles_the_sd2_guess_without_a_warning(tmp_path: Path) -> None:
    info = inspect_model(make_tiny_checkpoint("sd2", tmp_path / "m.safetensors"))
    assert resolved_type(info, True) == ("v_prediction", ())


def test_option_loses_against_a_fact_and_is_told(tmp_path: Path) -> None:
    path = make_tiny_checkpoint("sdxl", tmp_path / "m.safetensors", extra={"v_pred": EMPTY})
    info = inspect_model(path)
    assert resolved_type(info, True) == ("v_prediction", ())
    kind, (warning,) = resolved_type(info, False)
    assert kind == "v_prediction"
    assert warning.severity == "warning"
    assert "v_parameterization" in warning.message
    assert "v_pred" in warning.message


@pytest.mark.parametrize("asked", [True, False])
def test_v2_loses_against_the_shapes(stored: Stored, asked: bool) -> None:
    resolved, problems = resolve_model(inspect_model(stored.folder), v2=asked)
    assert resolved is not None
    assert resolved.family == stored.name
    disagree = asked != (stored.name == "sd2")
    assert [problem.severity for problem in problems] == ["warning"] * disagree
    assert all("v2" in (problem.option or "") for problem in problems)
