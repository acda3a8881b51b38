"""Options that say which pictures are held out to measure what was really learned."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sd_scripts.options.schema import Opt, Options

Count = Annotated[int | None, Field(ge=1, le=1_000_000_000)]


class ValidationOptions(Options):
    """Pictures that are not trained on, and when the loss on them is measured."""

    title: ClassVar[str] = "Validation"

    validation_split: Annotated[
        float,
        Field(ge=0, lt=1),
        Opt(
            "Share held out",
            cost=(
                "Held-out pictures are passed through the model at each measuring, "
                "without going back: about a third of a training step each."
            ),
            step=0.01,
            keywords=("validation", "overfitting"),
            records=True,
        ),
    ] = 0.0
    """Share of the pictures that are not trained on, but measured: when their loss rises again, the
    pictures are being copied. 0: none; usual with 50 pictures or more: 0.1."""

    validation_seed: Annotated[
        int | None,
        Field(ge=0, le=2**63 - 1),
        Opt("Seed of validation", tier="expert", records=True),
    ] = None
    """Decides which pictures are held out, and the noise they are measured with. Empty: seed."""

    validate_every_n_steps: Annotated[
        Count, Opt("Validate every n steps", unit="steps", off_values=(0,), records=True)
    ] = None
    """Measures after every n-th step. Empty: after epochs only."""

    validate_every_n_epochs: Annotated[
        Count, Opt("Validate every n epochs", unit="epochs", off_values=(0,), records=True)
    ] = None
    """Measures after every n-th epoch. Empty: after each one, unless validate_every_n_steps is
    set. The last step is always measured."""

    max_validation_steps: Annotated[
        Count,
        Opt("Batches a validation", tier="expert", unit="batches", off_values=(0,), records=True),
    ] = None
    """Measures at most this many batches, always the same ones. Empty: all."""
