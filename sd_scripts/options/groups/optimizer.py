"""Options that say how the weights are changed: optimizer, learning rates and their course."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sd_scripts.options.key_values import parse_pairs
from sd_scripts.options.optimizer_table import OPTIMIZERS, OptimizerName
from sd_scripts.options.scheduler_table import (
    SCHEDULERS,
    TORCH_SCHEDULERS,
    SchedulerName,
    TorchSchedulerName,
    schedulers_reading,
)
from sd_scripts.options.schema import Applies, Opt, Options
from sd_scripts.options.types import KeyValues, Steps


def _read_by(option: str) -> Applies:
    return Applies(when=(("lr_scheduler", schedulers_reading(option)),))


Rate = Annotated[float, Field(ge=0, le=1000)]


class OptimizerOptions(Options):
    """Optimizer and learning rate."""

    title: ClassVar[str] = "Learning rate and optimizer"

    optimizer_type: Annotated[
        OptimizerName,
        Opt(
            "Optimizer",
            typical=(
                "AdamW8bit on graphics cards, AdamW on a processor, Adafactor for whole "
                "models, Prodigy to do without choosing a rate"
            ),
            cost=(
                "AdamW keeps 8 bytes for each number that learns, AdamW8bit about 2, "
                "Lion 4, Adafactor next to none. For a LoRA that is little; for a whole "
                "SDXL, 20 GB against 5 GB and less."
            ),
            tier="basic",
            choice_help=tuple((entry.name, entry.text) for entry in OPTIMIZERS.values()),
            keywords=("optimizer",),
        ),
    ] = "AdamW"
    """How weights are changed. Each optimizer wants learning rates of its own. Those in 8 bits need
    the extra `8bit`, many others the extra `optimizers`. Classes with a module before their name
    are taken from this list only; nothing else is imported."""

    optimizer_args: Annotated[
        KeyValues,
        Opt(
            "Optimizer arguments",
            typical=(
                "weight_decay=0.01 for AdamW; weight_decay=0.01 "
                "use_bias_correction=True safeguard_warmup=True for Prodigy; "
                "relative_step=False for Adafactor with a rate of your own"
            ),
            tier="expert",
        ),
    ] = ()
    """Further arguments of the optimizer as name=value, for example weight_decay=0.1
    betas=0.9,0.99."""

    learning_rate: Annotated[
        Rate,
        Opt(
            "Learning rate",
            typical=(
                "LoRA: 1e-4 to 2e-4. Whole model: 1e-6 to 1e-5. New word: 1e-3 to 5e-3. "
                "Prodigy and D-Adaptation: 1"
            ),
            cost="None: it decides how soon a run is good, and how soon it is too much.",
            tier="basic",
            keywords=("lr",),
            records=True,
        ),
    ] = 2e-6
    """How far weights move in a step. Usual for a LoRA: 1e-4 (0.0001) with AdamW, 1 with Prodigy.
    Too high burns the pictures, too low learns nothing."""

    max_grad_norm: Annotated[
        float, Field(ge=0), Opt("Largest gradient", tier="expert", records=True)
    ] = 1.0
    """Gradients longer than this are shortened, which guards against jumps. 0: off."""

    lr_scheduler: Annotated[
        SchedulerName,
        Opt(
            "Course of the rate",
            typical="cosine for a fixed length, constant when you stop by eye",
            tier="basic",
            choice_help=tuple((entry.name, entry.text) for entry in SCHEDULERS.values()),
            keywords=("scheduler",),
            records=True,
        ),
    ] = "constant"
    """How the learning rate moves over the run. Usual: constant, or cosine with a short warm-up;
    most courses can begin with a warm-up (lr_warmup_steps)."""

    lr_scheduler_type: Annotated[
        TorchSchedulerName | None,
        Opt(
            "Course of PyTorch",
            tier="expert",
            choice_help=tuple((entry.name, entry.text) for entry in TORCH_SCHEDULERS.values()),
        ),
    ] = None
    """A course by its class in PyTorch, in place of lr_scheduler; without warm-up. Its arguments
    stand in lr_scheduler_args. Empty: lr_scheduler decides."""

    lr_warmup_steps: Annotated[
        Steps,
        Field(ge=0),
        Opt(
            "Warm-up",
            unit="steps",
            keywords=("warmup",),
            applies=_read_by("lr_warmup_steps"),
            records=True,
        ),
    ] = 0
    """The rate rises from zero over these first steps: a number of steps, or a share of all steps
    (0.1 or 10%). Usual: 0 to 10%."""

    lr_decay_steps: Annotated[
        Steps,
        Field(ge=0),
        Opt("Decay", tier="expert", unit="steps", applies=_read_by("lr_decay_steps")),
    ] = 0
    """Over how many last steps the rate falls: a number of steps, or a share of all steps."""

    lr_scheduler_num_cycles: Annotated[
        int,
        Field(ge=1, le=10_000),
        Opt("Restarts", tier="expert", applies=_read_by("lr_scheduler_num_cycles")),
    ] = 1
    """How many times the curve is gone through."""

    lr_scheduler_power: Annotated[
        float,
        Field(gt=0, le=100),
        Opt("Power", tier="expert", applies=_read_by("lr_scheduler_power")),
    ] = 1.0
    """Bend of the polynomial curve: 1 is a straight line, 2 falls faster at first."""

    lr_scheduler_timescale: Annotated[
        int | None,
        Field(ge=1, le=100_000_000),
        Opt(
            "Time scale",
            tier="expert",
            unit="steps",
            applies=_read_by("lr_scheduler_timescale"),
            off_values=(0,),
        ),
    ] = None
    """After how many steps the fall sets in. Empty: as many as the warm-up has."""

    lr_scheduler_min_lr_ratio: Annotated[
        float | None,
        Field(ge=0, le=1),
        Opt("Lowest rate", tier="expert", step=0.05, applies=_read_by("lr_scheduler_min_lr_ratio")),
    ] = None
    """The lowest rate as a share of the full one: 0.1 is a tenth."""

    lr_scheduler_args: Annotated[
        KeyValues,
        Opt("Course arguments", tier="expert"),
    ] = ()
    """Further arguments of the course as name=value. piecewise_constant needs step_rules, pairs of
    factor:step and a last factor: step_rules=1:100,0.1:200,0.01. The courses of lr_scheduler_type
    take those of their class, as T_0=100."""

    @property
    def optimizer_arguments(self) -> dict[str, object]:
        """`optimizer_args` as values, by name."""
        return parse_pairs(self.optimizer_args)

    @property
    def lr_scheduler_arguments(self) -> dict[str, object]:
        """`lr_scheduler_args` as values, by name."""
        return parse_pairs(self.lr_scheduler_args)

    @property
    def adafactor_sets_rate(self) -> bool:
        """Whether Adafactor chooses the rate by step (`relative_step`, its default)."""
        if self.optimizer_type != "Adafactor":
            return False
        return bool(self.optimizer_arguments.get("relative_step", True))

    @property
    def needs_no_course(self) -> bool:
        """Whether the optimizer does without a course of the rate: none is used then."""
        return self.adafactor_sets_rate or OPTIMIZERS[self.optimizer_type].schedule_free


class NetworkOptimizerOptions(OptimizerOptions):
    """Optimizer and learning rate of a network, which may have a rate for each part."""

    unet_lr: Annotated[
        float | None,
        Field(ge=0, le=1000),
        Opt("Learning rate of the U-Net", typical="1e-4 for a LoRA with AdamW", records=True),
    ] = None
    """Learning rate of the part that paints. Empty: learning_rate. 0: it does not learn."""

    text_encoder_lr: Annotated[
        tuple[Rate, ...] | None,
        Field(min_length=1, max_length=2),
        Opt(
            "Learning rate of the text encoder",
            typical="5e-5 with SD 1.x; 1e-5, or 0, with SDXL",
            records=True,
        ),
    ] = None
    """Learning rate of the part that reads; usual is half of the U-Net's. Empty: learning_rate. 0:
    it does not learn. SDXL has two text encoders: one number for both, or two numbers."""

    embedding_lr: Annotated[
        float | None,
        Field(ge=0, le=1000),
        Opt("Learning rate of the new word", applies=Applies(when=(("token_string", ()),))),
    ] = None
    """Learning rate of the vectors of a new word; usual is 1e-3 with AdamW. Empty: learning_rate.
    0: the word stays as weights has it."""

    @property
    def effective_unet_lr(self) -> float:
        """Learning rate of the U-Net."""
        return self.learning_rate if self.unet_lr is None else self.unet_lr

    def effective_text_encoder_lr(self, index: int = 0) -> float:
        """Learning rate of the text encoder at `index` (0, or 1 for SDXL's second)."""
        rates = self.text_encoder_lr
        if rates is None:
            return self.learning_rate
        return rates[min(index, len(rates) - 1)]

    @property
    def effective_embedding_lr(self) -> float:
        """Learning rate of the vectors of a new word."""
        return self.learning_rate if self.embedding_lr is None else self.embedding_lr
