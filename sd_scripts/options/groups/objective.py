"""Options that say what is learned from a picture: noise, timesteps and loss."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sd_scripts.options.schema import Applies, Opt, Options

_WITH_HUBER = Applies(when=(("loss_type", ("huber", "smooth_l1")),))

NUM_TIMESTEPS = 1000


class ObjectiveOptions(Options):
    """Noise and loss."""

    title: ClassVar[str] = "Noise and loss"

    noise_offset: Annotated[
        float | None, Field(ge=0, le=10), Opt("Noise offset", step=0.01, records=True)
    ] = None
    """Lets the model learn very dark and very bright pictures. Usual: 0.03 to 0.1. 0 or empty: off.
    Not for v-prediction models."""

    min_snr_gamma: Annotated[
        float | None,
        Field(gt=0, le=1000),
        Opt("Min-SNR gamma", step=0.5, keywords=("snr", "gamma"), off_values=(0,), records=True),
    ] = None
    """Weighs easy (little noise) steps down so that learning is faster and steadier. Usual: 5. 0 or
    empty: off."""

    loss_type: Annotated[
        Literal["l1", "l2", "huber", "smooth_l1"],
        Opt("Loss", tier="expert", keywords=("loss",), records=True),
    ] = "l2"
    """How the error is measured. l2 is usual; huber and smooth_l1 care less about outliers, such as
    a few pictures that do not fit."""

    huber_schedule: Annotated[
        Literal["constant", "exponential", "snr"],
        Opt("Huber schedule", tier="expert", applies=_WITH_HUBER, records=True),
    ] = "snr"
    """How huber_c changes with the amount of noise."""

    huber_c: Annotated[
        float,
        Field(gt=0, le=10),
        Opt("Huber c", tier="expert", step=0.05, applies=_WITH_HUBER, records=True),
    ] = 0.1
    """Errors above this count as with l1, below as with l2. Usual: 0.05 to 0.5."""

    huber_scale: Annotated[
        float,
        Field(gt=0, le=1000),
        Opt("Huber scale", tier="expert", step=0.1, applies=_WITH_HUBER, records=True),
    ] = 1.0
    """Multiplies huber_c (not with the schedule snr, as in sd-scripts)."""

    min_timestep: Annotated[
        int | None, Field(ge=0, le=NUM_TIMESTEPS - 1), Opt("First timestep", tier="expert")
    ] = None
    """Least noise that is trained, 0 to 999. Empty: 0. Higher leaves fine detail alone."""

    max_timestep: Annotated[
        int | None, Field(ge=1, le=NUM_TIMESTEPS), Opt("Last timestep", tier="expert")
    ] = None
    """Most noise that is trained, 1 to 1000 (itself not included). Empty: 1000. Lower leaves the
    composition alone."""

    @property
    def timestep_range(self) -> tuple[int, int]:
        """First timestep and the one after the last, with empty ends filled in."""
        first = 0 if self.min_timestep is None else self.min_timestep
        return first, NUM_TIMESTEPS if self.max_timestep is None else self.max_timestep
