"""What a model's U-Net predicts, noise or v: facts where there are any, else a reasoned guess."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sd_scripts.errors import UserError
from sd_scripts.families.recognise import FAMILY_TITLES
from sd_scripts.weights.folders import read_json
from sd_scripts.weights.headers import Header
from sd_scripts.weights.model_kinds import FamilyName, PredictionType

PREDICTION_WORDS: Final[dict[PredictionType, str]] = {
    "epsilon": "noise prediction (epsilon)",
    "v_prediction": "v-prediction",
}
_V_IN_NAME: Final = re.compile(r"v[-_ .]?pred|v[-_ ]?param|768[-_ ]?v\b|(?<!\d)768(?!\d)", re.I)
_EPS_IN_NAME: Final = re.compile(r"eps(ilon)?[-_ .]?pred|512[-_ ]?base|(?<!\d)512(?!\d)", re.I)
_V_ONLY_IN_NAME: Final = re.compile(r"v[-_ .]?pred", re.I)
# The training step at which Stable Diffusion 2's 512-base, an epsilon model, was published.
_SD2_BASE_STEP: Final = "875000"


@dataclass(frozen=True)
class Prediction:
    """A prediction type, whether it is a fact or a guess, and where it comes from, in words."""

    type: PredictionType
    certain: bool
    source: str
    zero_terminal_snr: bool = False


def file_prediction(path: Path, header: Header, family: FamilyName) -> Prediction:
    """Tell a single file's prediction type: markers, then metadata, then the usual or a guess."""
    zero_snr = "ztsnr" in header.tensors
    if "v_pred" in header.tensors:
        return Prediction("v_prediction", True, "its marker tensor v_pred says so", zero_snr)
    if told := _told_by_metadata(header.metadata):
        key, kind = told
        return Prediction(kind, True, f"its metadata says so ({key})", zero_snr)
    if zero_snr:
        source = "it is marked as trained to zero terminal SNR, which noise prediction cannot learn"
        return Prediction("v_prediction", False, source, True)
    if family == "sd2":
        return _guess_sd2(path, header)
    if _V_ONLY_IN_NAME.search(path.stem):
        return Prediction("v_prediction", False, "its file name says so, nothing in it does")
    usual = f"usual for {FAMILY_TITLES[family]}, and nothing in the file says otherwise"
    return Prediction("epsilon", False, usual)


def _told_by_metadata(metadata: Mapping[str, str]) -> tuple[str, PredictionType] | None:
    key = "modelspec.prediction_type"
    told = metadata.get(key, "").strip().lower()
    if told in ("v", "v_prediction", "v-prediction"):
        return key, "v_prediction"
    if told in ("epsilon", "eps"):
        return key, "epsilon"
    key = "modelspec.architecture"
    architecture = metadata.get(key, "").lower()
    if architecture.startswith("stable-diffusion-v2-768-v"):
        return key, "v_prediction"
    if architecture.startswith("stable-diffusion-v2-512"):
        return key, "epsilon"
    return None


def _guess_sd2(path: Path, header: Header) -> Prediction:
    """Guess for SD 2.x, whose 512-base (epsilon) and 768-v have the same names and shapes.

    Hints are tried in this order: the file's name, then the training step that 512-base carries.
    Without any, v-prediction is taken: most SD 2.x models descend from 768-v.
    """
    if _V_IN_NAME.search(path.stem):
        return Prediction("v_prediction", False, "its file name hints at it, nothing in it does")
    if _EPS_IN_NAME.search(path.stem):
        return Prediction("epsilon", False, "its file name hints at it, nothing in it does")
    if header.metadata.get("global_step") == _SD2_BASE_STEP:
        return Prediction("epsilon", False, "its training step is that of the 512-base model")
    return Prediction(
        "v_prediction", False, "a guess, as SD 2.x base and v models look alike from outside"
    )


def folder_prediction(path: Path, family: FamilyName, option: str) -> Prediction:
    """Tell a diffusers folder's prediction type by its scheduler's configuration."""
    file = path / "scheduler" / "scheduler_config.json"
    if not file.is_file():
        usual: PredictionType = "v_prediction" if family == "sd2" else "epsilon"
        return Prediction(usual, False, "a guess, as the folder has no scheduler configuration")
    config = read_json(file, option)
    zero_snr = bool(config.get("rescale_betas_zero_snr"))
    told = str(config.get("prediction_type", "epsilon"))
    source = "its scheduler configuration says so"
    if told not in ("epsilon", "v_prediction"):
        raise UserError(
            f"{file} asks for the prediction type {told}, which is not trained here",
            option=option,
            hint="choose a model of prediction type epsilon or v_prediction",
        )
    kind: PredictionType = "v_prediction" if told == "v_prediction" else "epsilon"
    return Prediction(kind, True, source, zero_snr)
