"""The few words for kinds of models that families, methods, objective and files share."""

from __future__ import annotations

from typing import Literal

FamilyName = Literal["sd1", "sd2", "sdxl"]
PredictionType = Literal["epsilon", "v_prediction"]
Owner = Literal["unet", "te1", "te2"]
"""The part of a model that a layer belongs to: the U-Net, or its first or second text encoder."""
