"""Options that say how long is trained, and at which cost in memory and precision."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sd_scripts.options.schema import Applies, Opt, Options

_WITH_EMA = Applies(when=(("use_ema", (True,)),))


class TrainingOptions(Options):
    """Length and repeatability."""

    title: ClassVar[str] = "Training"

    max_train_steps: Annotated[
        int,
        Field(ge=1, le=100_000_000),
        Opt("Steps", tier="basic", unit="steps", keywords=("steps",), records=True),
    ] = 1600
    """How many steps are trained, unless max_train_epochs is set. Usual for a LoRA: 80 to 150 steps
    per picture at batch size 1."""

    max_train_epochs: Annotated[
        int | None,
        Field(ge=1, le=1_000_000),
        Opt("Epochs", tier="basic", unit="epochs", keywords=("epochs", "epoch")),
    ] = None
    """How often all pictures (with their repeats) are gone through. Wins over max_train_steps.
    Usual: 5 to 20."""

    gradient_accumulation_steps: Annotated[
        int, Field(ge=1, le=100_000), Opt("Batches per step", unit="batches", records=True)
    ] = 1
    """Gathers several batches before the weights change: as a larger batch, without its memory, but
    each step takes that many times longer."""

    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1), Opt("Seed", records=True)] = None
    """Fixes everything that is random, so that a run can be repeated. Empty: drawn anew and written
    into the run's config."""

    use_ema: Annotated[bool, Opt("Average over the steps", keywords=("ema",))] = False
    """Keeps a moving average of the trained weights beside them (EMA): steadier results. What is
    saved and previewed is then the average. Takes four bytes for each trained number. (An option of
    this program.)"""

    ema_decay: Annotated[
        float,
        Field(gt=0, lt=1),
        Opt("Length of the average", tier="expert", applies=_WITH_EMA),
    ] = 0.999
    """How much of the average stays in each step: 0.999 looks back over about 1,000 steps, 0.9999
    over 10,000. It begins shorter, so that the start is soon forgotten. (An option of this
    program.)"""

    ema_device: Annotated[
        Literal["same", "cpu"], Opt("Place of the average", tier="expert", applies=_WITH_EMA)
    ] = "same"
    """Where the average is kept: beside the weights, or in main memory, which spares the graphics
    card and takes a little time in each step. (An option of this program.)"""


class PerformanceOptions(Options):
    """Precision, memory and speed."""

    title: ClassVar[str] = "Precision and memory"

    mixed_precision: Annotated[
        Literal["no", "fp16", "bf16"],
        Opt("Precision", tier="basic", keywords=("precision",), records=True),
    ] = "no"
    """Calculates in 16 bits where it is safe: faster and smaller. bf16 for NVIDIA cards from the 30
    series on, fp16 for older ones, no for full 32 bits."""

    full_fp16: Annotated[bool, Opt("Everything in fp16", tier="expert", records=True)] = False
    """Keeps the trained weights and gradients in fp16 too. Saves memory, learns less exactly and
    can fail with NaN. Needs mixed_precision fp16."""

    full_bf16: Annotated[bool, Opt("Everything in bf16", tier="expert")] = False
    """Keeps the trained weights and gradients in bf16 too, which takes half the memory. They are
    rounded up or down by chance, so that small steps are not lost on the whole. Needs
    mixed_precision bf16."""

    fused_backward_pass: Annotated[
        bool, Opt("Step during the backward pass", tier="expert", keywords=("fused",))
    ] = False
    """Moves each weight as soon as its gradient is known and drops the gradient: needs much less
    memory when a whole model learns. Gradients are then shortened one by one (max_grad_norm)."""

    fused_optimizer_groups: Annotated[
        int | None,
        Field(ge=1, le=100_000),
        Opt("Groups of fused steps", tier="expert", unit="groups", off_values=(0,)),
    ] = None
    """The same with this many groups of weights, each moved when its last gradient is there. Empty:
    off. fused_backward_pass needs less memory still."""

    gradient_checkpointing: Annotated[
        bool, Opt("Gradient checkpointing", tier="basic", records=True)
    ] = False
    """Needs much less memory and more time: intermediate results are computed again instead of
    kept. Use it when memory runs out."""

    sdpa: Annotated[bool, Opt("PyTorch attention", tier="expert")] = False
    """Uses PyTorch's own fast attention. It is used anyway unless xformers is chosen; the option is
    kept for files made for sd-scripts."""

    xformers: Annotated[bool, Opt("Attention of xformers", tier="expert")] = False
    """Uses the xformers package for attention, which has to be installed, instead of PyTorch's
    own."""

    mem_eff_attn: Annotated[bool, Opt("Memory-saving attention", tier="expert")] = False
    """Computes attention one slice after the other: slower, and for machines whose memory PyTorch's
    own attention does not fit into."""

    @property
    def fused_option(self) -> str | None:
        """The option by which weights move during the backward pass, if one is on."""
        if self.fused_backward_pass:
            return "fused_backward_pass"
        return None if self.fused_optimizer_groups is None else "fused_optimizer_groups"

    @property
    def attention(self) -> Literal["sdpa", "xformers", "mem_eff_attn"]:
        """The attention to use: PyTorch's own unless another is asked for."""
        if self.mem_eff_attn:
            return "mem_eff_attn"
        return "xformers" if self.xformers else "sdpa"
