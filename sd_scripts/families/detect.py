"""What a model file or folder is, from names and shapes alone: nothing is loaded or executed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sd_scripts.errors import Problem

FamilyName = Literal["sd1", "sd2", "sdxl"]
PredictionType = Literal["epsilon", "v_prediction"]
ModelKind = Literal["checkpoint", "diffusers", "lora", "vae", "embedding", "unknown"]


@dataclass(frozen=True)
class ModelInfo:
    """What was found out about a model.

    `prediction_certain` tells a fact (marker tensors, metadata, a scheduler's configuration) from
    a guess. `text` is one sentence for a person. `unsupported` is set when the model was
    recognised, but cannot be trained on.
    """

    kind: ModelKind
    family: FamilyName | None
    prediction_type: PredictionType | None
    prediction_certain: bool
    zero_terminal_snr: bool
    path: Path
    num_parameters: int
    dtype: str | None
    title: str
    text: str
    unsupported: Problem | None = None


@dataclass(frozen=True)
class ResolvedModel:
    """What a job will take the model for, after options and facts have met."""

    family: FamilyName
    prediction_type: PredictionType
    zero_terminal_snr: bool
