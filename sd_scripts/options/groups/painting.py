"""Options of the job that keeps a model in memory and paints pictures on request."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sd_scripts.options.schema import Opt, Options

PaintingDevice = Literal["cpu", "cuda", "xpu", "mps"]


class PaintingOptions(Options):
    """Where the model is kept, and for how long."""

    title: ClassVar[str] = "Painting"

    device: Annotated[PaintingDevice | None, Opt("Run on", tier="basic", keywords=("gpu",))] = None
    """What the model runs on. Empty: the best there is, a graphics card before the CPU."""

    precision: Annotated[
        Literal["float", "fp16", "bf16"] | None, Opt("Precision", keywords=("dtype",))
    ] = None
    """What the model computes in; fp16 and bf16 take half the memory of float. Empty: on a graphics
    card bf16 if it can, else fp16; float on a CPU."""

    idle_minutes: Annotated[
        float | None,
        Field(gt=0, le=100_000),
        Opt("Unload after", tier="basic", unit="minutes", off_values=(0,), keywords=("timeout",)),
    ] = 10.0
    """When nothing was asked for so long, the model is unloaded and the process ends. Empty: it
    stays until it is asked to end."""
