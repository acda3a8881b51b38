"""Options of the job that paints masks of what is in front, with a model of the user's."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sd_scripts.options.schema import Opt, Options
from sd_scripts.options.types import PathText


class MaskOptions(Options):
    """The model that finds the subject, and where its masks go."""

    title: ClassVar[str] = "Masks"

    mask_model: Annotated[
        PathText,
        Field(min_length=1),
        Opt("Model", tier="basic", path="file", keywords=("rembg", "u2net", "onnx")),
    ]
    """ONNX file of a model that tells the subject from the background, such as rembg uses:
    u2net.onnx, u2netp.onnx, silueta.onnx, isnet-general-use.onnx or a BiRefNet."""

    mask_dir: Annotated[
        PathText,
        Field(min_length=1),
        Opt("Masks", tier="basic", path="output_folder", keywords=("conditioning_data_dir",)),
    ]
    """Folder for the masks: a grey PNG of the same name and size for each picture, white where the
    subject is. It is made if it is not there. Give it as conditioning_data_dir when you train."""

    mask_kind: Annotated[
        Literal["u2net", "isnet", "birefnet"] | None, Opt("Kind of model", keywords=("rembg",))
    ] = None
    """How the model wants its pictures. Empty: by the file's name, else as u2net."""

    only_missing: Annotated[
        bool, Opt("Only pictures without a mask", tier="basic", keywords=("skip",))
    ] = True
    """Leaves masks alone that are there. Otherwise they are made anew; what was there before is
    kept in the run's folder and can be put back."""
