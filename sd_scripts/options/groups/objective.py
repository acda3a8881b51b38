"""Options that say what is learned from a picture: noise, timesteps and loss."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sd_scripts.options.schema import Applies, Opt, Options


def _with(option: str) -> Applies:
    return Applies(when=((option, ()),))


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

    noise_offset_random_strength: Annotated[
        bool,
        Opt(
            "Random noise offset",
            tier="expert",
            applies=_with("noise_offset"),
            records=True,
        ),
    ] = False
    """Draws the strength between 0 and noise_offset, for every picture anew."""

    adaptive_noise_scale: Annotated[
        float | None,
        Field(ge=-10, le=10),
        Opt(
            "Adaptive noise offset",
            tier="expert",
            step=0.005,
            applies=_with("noise_offset"),
            off_values=(0,),
            records=True,
        ),
    ] = None
    """Adds this times the mean of the latents' channels to noise_offset, so that bright and dark
    pictures get more of it. Usual: about the noise_offset itself. Below 0: less. 0 or empty:
    off."""

    multires_noise_iterations: Annotated[
        int | None,
        Field(ge=1, le=100),
        Opt(
            "Pyramid noise levels",
            tier="expert",
            keywords=("pyramid", "multires"),
            off_values=(0,),
            records=True,
        ),
    ] = None
    """Adds coarser and coarser noise, which helps with light, dark and large shapes like
    noise_offset does. Usual: 6 to 10. 0 or empty: off. Each picture's noise is brought back to its
    usual strength by itself; sd-scripts does that for the whole batch together."""

    multires_noise_discount: Annotated[
        float,
        Field(ge=0, le=1),
        Opt(
            "Pyramid noise discount",
            tier="expert",
            step=0.05,
            applies=_with("multires_noise_iterations"),
            records=True,
        ),
    ] = 0.3
    """Each level of the pyramid is this much weaker than the one before. Usual: 0.1 to 0.4, up to
    0.8 for a whole model."""

    ip_noise_gamma: Annotated[
        float | None,
        Field(gt=0, le=10),
        Opt(
            "Input perturbation",
            tier="expert",
            step=0.05,
            keywords=("ip_noise",),
            off_values=(0,),
            records=True,
        ),
    ] = None
    """Shows the model somewhat noisier pictures than it is scored for, so that it forgives its own
    errors when painting. Usual: 0.05 to 0.1. 0 or empty: off."""

    ip_noise_gamma_random_strength: Annotated[
        bool,
        Opt(
            "Random input perturbation",
            tier="expert",
            applies=_with("ip_noise_gamma"),
            records=True,
        ),
    ] = False
    """Draws the strength between 0 and ip_noise_gamma, for every picture anew."""

    zero_terminal_snr: Annotated[
        bool,
        Opt(
            "Zero terminal SNR", tier="expert", keywords=("ztsnr", "zsnr", "rescale"), records=True
        ),
    ] = False
    """The last timestep is pure noise, so that truly dark and bright pictures can be learned; only
    for models that predict v. Off: as the model file says. Loss weights and previews follow."""

    min_snr_gamma: Annotated[
        float | None,
        Field(gt=0, le=1000),
        Opt("Min-SNR gamma", step=0.5, keywords=("snr", "gamma"), off_values=(0,), records=True),
    ] = None
    """Weighs easy (little noise) steps down so that learning is faster and steadier. Usual: 5. 0 or
    empty: off."""

    scale_v_pred_loss_like_noise_pred: Annotated[
        bool, Opt("Weigh v as noise", tier="expert", keywords=("snr", "vpred"))
    ] = False
    """Weighs the loss of a model that predicts v as that of one that predicts noise: large shapes
    count less. Only for models that predict v."""

    v_pred_like_loss: Annotated[
        float | None,
        Field(gt=0, le=1000),
        Opt("Add the loss in v", tier="expert", step=0.1, keywords=("snr",), off_values=(0,)),
    ] = None
    """Adds this much of the loss that a model which predicts v would have: large shapes count more.
    Only for models that predict noise. Usual: 0.1 to 1. 0 or empty: off."""

    debiased_estimation_loss: Annotated[
        bool, Opt("Debiased estimation", tier="expert", records="ss_debiased_estimation")
    ] = False
    """Weighs noisy steps up, so that large shapes and colours are learned as well as detail. It
    takes the place of min_snr_gamma."""

    masked_loss_mean: Annotated[
        Literal["area", "picture"],
        Opt(
            "Mean of a masked loss",
            tier="expert",
            keywords=("mask",),
            choice_help=(
                ("area", "over the masked part: a small subject counts as much as a large one"),
                ("picture", "over the whole picture, as sd-scripts: a small mask, a small loss"),
            ),
        ),
    ] = "area"
    """What the loss of a picture with a mask (masked_loss, alpha_mask) is averaged over."""

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
