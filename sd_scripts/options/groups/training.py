"""Options that say how long is trained, and at which cost in memory and precision."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sd_scripts.options.schema import Applies, Opt, Options

BaseFormat = Literal["fp8", "int8", "nf4"]
"""Number formats that a frozen base can be stored in."""
Backend = Literal["inductor", "aot_eager", "eager", "cudagraphs"]
CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]

_WITH_EMA = Applies(when=(("use_ema", (True,)),))
_COMPILED = Applies(when=(("torch_compile", (True,)),))
_QUANTISED = Applies(when=(("quantize_base", ()),))


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
        Opt(
            "Epochs",
            cost=(
                "Time grows with it. About 100 looks at each picture (repeats times "
                "epochs) are usual for a LoRA of a person or thing, about 50 for a "
                "style."
            ),
            tier="basic",
            unit="epochs",
            keywords=("epochs", "epoch"),
        ),
    ] = None
    """How often all pictures (with their repeats) are gone through. Wins over max_train_steps.
    Usual: 5 to 20."""

    gradient_accumulation_steps: Annotated[
        int,
        Field(ge=1, le=100_000),
        Opt(
            "Batches per step",
            typical="1 to 8",
            cost=(
                "No memory; each step takes that many times longer, and there are as "
                "many times fewer of them in an epoch."
            ),
            unit="batches",
            records=True,
        ),
    ] = 1
    """Gathers several batches before the weights change: as a larger batch, without its memory, but
    each step takes that many times longer."""

    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1), Opt("Seed", records=True)] = None
    """Fixes everything that is random, so that a run can be repeated. Empty: drawn anew and written
    into the run's config."""

    use_ema: Annotated[
        bool,
        Opt(
            "Average over the steps",
            cost=(
                "For a whole SD 1.5 (860 million numbers of the U-Net) that is 3.4 GB, "
                "in main memory with ema_device cpu."
            ),
            keywords=("ema",),
        ),
    ] = False
    """Keeps a moving average of the trained weights beside them (EMA): steadier results. What is
    saved and previewed is then the average. Takes four bytes for each trained number."""

    ema_decay: Annotated[
        float,
        Field(gt=0, lt=1),
        Opt("Length of the average", tier="expert", applies=_WITH_EMA),
    ] = 0.999
    """How much of the average stays in each step: 0.999 looks back over about 1,000 steps, 0.9999
    over 10,000. It begins shorter, so that the start is soon forgotten."""

    ema_device: Annotated[
        Literal["same", "cpu"], Opt("Place of the average", tier="expert", applies=_WITH_EMA)
    ] = "same"
    """Where the average is kept: beside the weights, or in main memory, which spares the graphics
    card and takes a little time in each step."""


class PerformanceOptions(Options):
    """Precision, memory and speed."""

    title: ClassVar[str] = "Precision and memory"

    mixed_precision: Annotated[
        Literal["no", "fp16", "bf16"],
        Opt(
            "Precision",
            typical="bf16, or fp16 on cards before the 30 series",
            cost=(
                "What lies between the layers takes half the memory of no. On "
                "processors without bf16 of their own it saves memory, but no time."
            ),
            tier="basic",
            keywords=("precision",),
            records=True,
        ),
    ] = "no"
    """Calculates in 16 bits where it is safe: faster and smaller. bf16 for NVIDIA cards from the 30
    series on, fp16 for older ones, no for full 32 bits."""

    full_fp16: Annotated[bool, Opt("Everything in fp16", tier="expert", records=True)] = False
    """Keeps the trained weights and gradients in fp16 too. Saves memory, learns less exactly and
    can fail with NaN. Needs mixed_precision fp16."""

    full_bf16: Annotated[
        bool,
        Opt(
            "Everything in bf16",
            typical="For whole models; a LoRA is too small to need it",
            cost=(
                "Half the memory for weights and gradients. A whole SD 1.5 peaked at "
                "6.7 GB with AdamW8bit and at 5.8 GB with Adafactor, together with "
                "fused_backward_pass (docs/figures.md)."
            ),
            tier="expert",
        ),
    ] = False
    """Keeps the trained weights and gradients in bf16 too, which takes half the memory. They are
    rounded up or down by chance, so that small steps are not lost on the whole. Needs
    mixed_precision bf16."""

    fused_backward_pass: Annotated[
        bool,
        Opt(
            "Step during the backward pass",
            typical="On when a whole model learns with Adafactor or AdamW8bit",
            cost=(
                "No gradients of the whole model at a time: for SD 1.5 in 16 bits that "
                "is 1.7 GB less, for SDXL 5.1 GB."
            ),
            tier="expert",
            keywords=("fused",),
        ),
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
        bool,
        Opt(
            "Gradient checkpointing",
            typical="On for SDXL below 24 GB, on for SD 1.x below 8 GB",
            cost=(
                "A step takes about a third longer; memory for what lies between the "
                "layers falls to a small part."
            ),
            tier="basic",
            records=True,
        ),
    ] = False
    """Needs much less memory and more time: intermediate results are computed again instead of
    kept. Use it when memory runs out."""

    fp8_base: Annotated[bool, Opt("Base in fp8", tier="expert", records=True)] = False
    """Stores the frozen model, U-Net and text encoders, in 8 bits: the same as quantize_base fp8,
    under sd-scripts' name. Not for training a whole model."""

    fp8_base_unet: Annotated[bool, Opt("U-Net in fp8", tier="expert", records=True)] = False
    """Stores only the frozen U-Net in 8 bits and leaves the text encoders as they are, also beside
    fp8_base."""

    quantize_base: Annotated[
        BaseFormat | None,
        Opt(
            "Frozen base in",
            typical="For cards on which the model itself is too large",
            cost=(
                "The U-Net in 16 bits takes 1.7 GB with SD 1.x and 5.1 GB with SDXL; 8 "
                "bits are half of that, 4 bits a quarter."
            ),
            choice_help=(
                ("fp8", "8 bits, floating point"),
                ("int8", "8 bits, nearer to the model than fp8"),
                ("nf4", "a little over 4 bits, further from the model"),
            ),
            off_values=("no",),
            keywords=("quantise", "8bit", "4bit", "qlora", "memory"),
            records=True,
        ),
    ] = None
    """Stores the weights that do not learn in fewer bits, so that the model takes a half or a
    quarter of the memory; it still calculates in the chosen precision, and each step takes longer.
    For networks and new words, not for training a whole model. Empty: as they are."""

    quantize_unet_only: Annotated[
        bool, Opt("Only the U-Net", tier="expert", applies=_QUANTISED, records=True)
    ] = False
    """Leaves the text encoders as they are when the base is stored in fewer bits."""

    torch_compile: Annotated[
        bool,
        Opt(
            "Compile the U-Net",
            typical="Off for short trainings",
            tier="expert",
            keywords=("torch.compile", "dynamo"),
        ),
    ] = False
    """Has PyTorch compile the U-Net's blocks. The first steps take minutes longer, the others less
    time. Needs a C++ compiler, and Triton on a graphics card."""

    dynamo_backend: Annotated[
        Backend | None,
        Opt(
            "Compiler",
            tier="expert",
            applies=_COMPILED,
            later=(
                "aot_ts_nvfuser", "nvprims_nvfuser", "ofi", "fx2trt", "onnxrt", "tensort", "ipex",
                "tvm",
            ),
            choice_help=(
                ("inductor", "PyTorch's own, the fastest"),
                ("aot_eager", "only traces, to look for faults"),
                ("eager", "hardly anything, to look for faults"),
                ("cudagraphs", "records what the graphics card does, without compiling it"),
            ),
            off_values=("no",),
        ),
    ] = "inductor"  # fmt: skip
    """What compiles, when torch_compile is on. no: nothing is compiled."""

    dynamo_mode: Annotated[CompileMode, Opt("How thoroughly", tier="expert", applies=_COMPILED)] = (
        "default"
    )
    """How hard inductor tries: reduce-overhead needs more memory, max-autotune tries out variants
    at the beginning, which takes long."""

    opt_channels_last: Annotated[
        bool, Opt("Channels last", tier="expert", keywords=("channels_last", "memory format"))
    ] = False
    """Lays pictures out in memory with their colours together. Convolutions in 16 bits are faster
    so on most graphics cards and on processors; results differ by rounding only."""

    pack_frozen_weights: Annotated[
        Literal["auto", "on", "off"],
        Opt(
            "Pack frozen weights",
            typical="auto",
            cost="What it gains differs by processor; docs/figures.md has what was measured.",
            tier="expert",
            choice_help=(
                ("auto", "where a short measurement at the start says that it pays"),
                ("on", "without measuring"),
                ("off", "not at all"),
            ),
            keywords=("cpu", "processor", "onednn", "mkldnn", "speed"),
        ),
    ] = "auto"
    """On a processor: keeps the weights of a base that does not learn in orders that products read
    as they are, instead of reordering them in every step. The smallest ones are kept in two orders,
    which takes up to a quarter more of the base's memory. Results differ by rounding only. Which
    way auto goes may differ between runs, but not when a run is resumed; on or off also repeats a
    run bit for bit. No effect on graphics cards."""

    allow_tf32: Annotated[bool, Opt("TF32", tier="expert", keywords=("tensor cores",))] = False
    """Lets NVIDIA cards from the 30 series on multiply 32-bit numbers with 10 bits behind the
    point: much faster with precision no, and a little less exact. No effect on 16-bit work."""

    sdpa: Annotated[bool, Opt("PyTorch attention", tier="expert")] = False
    """Uses PyTorch's own fast attention. It is used anyway unless xformers is chosen; the option is
    kept for files made for sd-scripts."""

    xformers: Annotated[bool, Opt("Attention of xformers", tier="expert")] = False
    """Uses the xformers package for attention, which has to be installed, instead of PyTorch's
    own."""

    mem_eff_attn: Annotated[bool, Opt("Memory-saving attention", tier="expert")] = False
    """Computes attention one slice after the other: slower, and for machines whose memory PyTorch's
    own attention does not fit into."""

    ddp_timeout: Annotated[
        int | None,
        Field(ge=1, le=100_000),
        Opt(
            "Patience with other processes",
            tier="expert",
            unit="minutes",
            off_values=(0,),
            keywords=("multi gpu", "several graphics cards", "distributed"),
        ),
    ] = None
    """With several processes: how long they wait for one that computes before that is told as an
    error. While the first one encodes, paints or saves, the others wait as long as it takes. Empty:
    30 minutes."""

    @property
    def fused_option(self) -> str | None:
        """The option by which weights move during the backward pass, if one is on."""
        if self.fused_backward_pass:
            return "fused_backward_pass"
        return None if self.fused_optimizer_groups is None else "fused_optimizer_groups"

    @property
    def compiler(self) -> Backend | None:
        """What compiles the U-Net; None: nothing does."""
        return self.dynamo_backend if self.torch_compile else None

    @property
    def base_format(self) -> BaseFormat | None:
        """The number format that the frozen base is stored in; None: that of the precision."""
        return "fp8" if self.fp8_base or self.fp8_base_unet else self.quantize_base

    @property
    def base_option(self) -> str | None:
        """The option that asks for a base in fewer bits, if one does."""
        chosen = {
            "quantize_base": self.quantize_base is not None,
            "fp8_base": self.fp8_base,
            "fp8_base_unet": self.fp8_base_unet,
        }
        return next((name for name, on in chosen.items() if on), None)

    @property
    def quantizes_text_encoders(self) -> bool:
        """Whether text encoders are stored in `base_format` too."""
        return not (self.fp8_base_unet or self.quantize_unet_only)

    @property
    def attention(self) -> Literal["sdpa", "xformers", "mem_eff_attn"]:
        """The attention to use: PyTorch's own unless another is asked for."""
        if self.mem_eff_attn:
            return "mem_eff_attn"
        return "xformers" if self.xformers else "sdpa"
