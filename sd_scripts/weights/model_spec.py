"""The modelspec.* metadata of trained files.

Source: https://github.com/Stability-AI/ModelSpec, version 1.0.1.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from sd_scripts.errors import UserError
from sd_scripts.options.groups.metadata import MetadataOptions
from sd_scripts.weights.model_kinds import FamilyName, PredictionType

Kind = Literal["lora", "textual-inversion", "checkpoint"]

_SAI: Final = "https://github.com/Stability-AI/generative-models"
_TITLES: Final[Mapping[Kind, str]] = {
    "lora": "LoRA",
    "textual-inversion": "TextualInversion",
    "checkpoint": "Checkpoint",
}
MAX_THUMBNAIL_BYTES: Final = 2_000_000
"""It is written into the file's header, which readers limit to 100 MB and read whole."""


def architecture(family: FamilyName, prediction_type: PredictionType, kind: Kind) -> str:
    """Return modelspec's name of what was trained, for instance stable-diffusion-v1/lora."""
    base = {
        "sd1": "stable-diffusion-v1",
        "sd2": "stable-diffusion-v2-768-v"
        if prediction_type == "v_prediction"
        else "stable-diffusion-v2-512",
        "sdxl": "stable-diffusion-xl-v1-base",
    }[family]
    return base if kind == "checkpoint" else f"{base}/{kind}"


def implementation(family: FamilyName, kind: Kind) -> str:
    """Return whose code reads files of this layout."""
    return "diffusers" if kind == "lora" and family != "sdxl" else _SAI


def default_resolution(family: FamilyName, prediction_type: PredictionType) -> tuple[int, int]:
    """Return the (width, height) a model of this family was made for."""
    if family == "sdxl":
        return 1024, 1024
    return (768, 768) if (family, prediction_type) == ("sd2", "v_prediction") else (512, 512)


def model_spec(
    model: tuple[FamilyName, PredictionType],
    kind: Kind,
    options: MetadataOptions,
    *,
    known: Mapping[str, str],
    timestamp: float,
) -> dict[str, str]:
    """Return the modelspec entries of a file saved at `timestamp` (Unix seconds).

    `known` are entries (without the `modelspec.` prefix) that the caller knows: `title` as a
    fall-back, `resolution`, `timestep_range`, `encoder_layer`, `implementation_version`. What the
    user wrote in `options` wins. Raises `UserError` if the thumbnail cannot be read.
    """
    family, prediction_type = model
    entries = {
        "sai_model_spec": "1.0.1",
        "architecture": architecture(family, prediction_type, kind),
        "implementation": implementation(family, kind),
        "title": f"{_TITLES[kind]}@{timestamp}",
        "resolution": "{}x{}".format(*default_resolution(family, prediction_type)),
        "date": datetime.fromtimestamp(int(timestamp)).isoformat(),
        "prediction_type": "v" if prediction_type == "v_prediction" else "epsilon",
        **known,
        **_told(options),
    }
    return {f"modelspec.{name}": text for name, text in entries.items()}


def _told(options: MetadataOptions) -> dict[str, str]:
    told = {
        "title": options.metadata_title,
        "author": options.metadata_author,
        "description": options.metadata_description,
        "license": options.metadata_license,
        "tags": options.metadata_tags,
        "usage_hint": options.metadata_usage_hint,
        "thumbnail": thumbnail_url(options.metadata_thumbnail),
        "merged_from": options.metadata_merged_from,
        "trigger_phrase": options.metadata_trigger_phrase,
        "preprocessor": options.metadata_preprocessor,
        "is_negative_embedding": options.metadata_is_negative_embedding,
    }
    return {name: text for name, text in told.items() if text is not None}


def thumbnail_url(thumbnail: str | None) -> str | None:
    """Return a picture file as a data URL; what is one already, as it is."""
    if thumbnail is None or thumbnail.startswith("data:"):
        return thumbnail
    kind = mimetypes.guess_type(thumbnail)[0] or "application/octet-stream"
    try:
        data = Path(thumbnail).read_bytes()
    except OSError as error:
        raise UserError(
            f"The thumbnail {thumbnail} cannot be read: {error.strerror or error}",
            option="metadata_thumbnail",
            hint="Choose a picture file that is there.",
        ) from error
    if len(data) > MAX_THUMBNAIL_BYTES:
        raise UserError(
            f"The thumbnail {Path(thumbnail).name} has {len(data) / 1e6:.1f} MB, and programs that "
            "list models read it each time",
            option="metadata_thumbnail",
            hint=f"Choose a picture of at most {MAX_THUMBNAIL_BYTES // 10**6} MB.",
        )
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
