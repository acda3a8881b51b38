"""Options of the job that cuts a DyLoRA file into LoRA files."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sd_scripts.options.schema import Opt, Options
from sd_scripts.options.types import PathText


class SlicingOptions(Options):
    """The file, and at which ranks it is cut."""

    title: ClassVar[str] = "Cutting a DyLoRA"

    model: Annotated[PathText, Field(min_length=1), Opt("DyLoRA file", tier="basic", path="file")]
    """The trained file, of the network type DyLoRA. It stays as it is."""

    unit: Annotated[
        int, Field(ge=1, le=1024), Opt("Unit it was trained with", tier="basic", keywords=("rank",))
    ] = 1
    """The training learned this many ranks at a time (`unit` in `network_args`); a file is made at
    every multiple of it."""

    save_to: Annotated[
        PathText | None,
        Field(min_length=1),
        Opt("Save as", path="file", keywords=("output",)),
    ] = None
    """Name of the files to write; each gets its rank added, as in name-0004.safetensors. Empty:
    the name of the file, in the run's output folder."""
