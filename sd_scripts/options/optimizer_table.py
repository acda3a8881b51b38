"""The optimizers that can be chosen and the arguments each takes, known without importing any."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

OptimizerName = Literal["AdamW", "AdamW8bit", "Adafactor", "Lion", "Prodigy"]

LATER_OPTIMIZERS: Final = (
    "PagedAdamW",
    "PagedAdamW8bit",
    "PagedAdamW32bit",
    "Lion8bit",
    "PagedLion8bit",
    "SGDNesterov",
    "SGDNesterov8bit",
    "DAdaptation",
    "DAdaptAdamPreprint",
    "DAdaptAdaGrad",
    "DAdaptAdam",
    "DAdaptAdan",
    "DAdaptAdanIP",
    "DAdaptLion",
    "DAdaptSGD",
    "RAdamScheduleFree",
    "AdamWScheduleFree",
    "SGDScheduleFree",
)

ArgumentKind = Literal["float", "int", "bool", "floats", "text"]


@dataclass(frozen=True)
class Argument:
    """One name=value argument of an optimizer, scheduler or network.

    `length` is how many numbers a "floats" argument has; `optional` ones may be None.
    """

    name: str
    kind: ArgumentKind
    default: object
    help: str
    length: int | None = None
    optional: bool = False


@dataclass(frozen=True)
class OptimizerEntry:
    """An optimizer: what it is for, the Python package it needs, and its arguments.

    `sets_own_rate`: it adapts the learning rate itself and wants learning_rate = 1.
    `usual_rates` are the lowest and highest rates that make sense for a LoRA.
    """

    name: OptimizerName
    text: str
    package: str | None
    arguments: tuple[Argument, ...]
    usual_rates: tuple[float, float]
    sets_own_rate: bool = False

    def argument(self, name: str) -> Argument | None:
        """The argument of that name, if there is one."""
        return next((found for found in self.arguments if found.name == name), None)


def _betas(first: float, second: float) -> Argument:
    return Argument(
        "betas", "floats", (first, second), "How long past gradients are remembered.", length=2
    )


def _decay(default: float) -> Argument:
    return Argument("weight_decay", "float", default, "Pulls weights towards zero; 0 is off.")


def _eps(default: float) -> Argument:
    return Argument("eps", "float", default, "Small number that keeps divisions stable.")


_ENTRIES: Final = (
    OptimizerEntry(
        "AdamW",
        "the dependable default; two extra numbers a trained weight",
        None,
        (
            _betas(0.9, 0.999),
            _eps(1e-8),
            _decay(0.01),
            Argument("amsgrad", "bool", False, "Use the AMSGrad variant."),
            Argument("maximize", "bool", False, "Climb instead of descend."),
            Argument("foreach", "bool", None, "Update many tensors in one go.", optional=True),
            Argument("fused", "bool", None, "Use the fused kernel.", optional=True),
        ),
        usual_rates=(1e-5, 1e-2),
    ),
    OptimizerEntry(
        "AdamW8bit",
        "AdamW with its memory in 8 bits: a quarter of the optimizer's memory",
        "bitsandbytes",
        (
            _betas(0.9, 0.999),
            _eps(1e-8),
            _decay(0.01),
            Argument("min_8bit_size", "int", 4096, "Smaller tensors stay in 32 bits."),
        ),
        usual_rates=(1e-5, 1e-2),
    ),
    OptimizerEntry(
        "Adafactor",
        "saves memory and, unless relative_step=False, chooses its learning rate itself",
        None,
        (
            Argument("eps", "floats", (1e-30, 1e-3), "Two small stabilisers.", length=2),
            Argument("clip_threshold", "float", 1.0, "Largest update, root mean square."),
            Argument("decay_rate", "float", -0.8, "How fast old squares are forgotten."),
            Argument("beta1", "float", None, "Momentum; None is off.", optional=True),
            _decay(0.0),
            Argument("scale_parameter", "bool", True, "Scale the rate by the weight's size."),
            Argument("relative_step", "bool", True, "Choose the learning rate by step."),
            Argument("warmup_init", "bool", False, "Start slowly; needs relative_step."),
        ),
        usual_rates=(1e-5, 1e-2),
    ),
    OptimizerEntry(
        "Lion",
        "one extra number a weight; wants a 3 to 10 times smaller rate than AdamW",
        "lion_pytorch",
        (
            _betas(0.9, 0.99),
            _decay(0.0),
            Argument("use_triton", "bool", False, "Use the Triton kernel (NVIDIA)."),
            Argument(
                "decoupled_weight_decay", "bool", False, "Decay does not follow the learning rate."
            ),
        ),
        usual_rates=(1e-6, 1e-3),
    ),
    OptimizerEntry(
        "Prodigy",
        "finds the learning rate itself; set learning_rate to 1",
        "prodigyopt",
        (
            _betas(0.9, 0.999),
            Argument("beta3", "float", None, "Memory of the rate's estimate.", optional=True),
            _eps(1e-8),
            _decay(0.0),
            Argument("decouple", "bool", True, "Weight decay as in AdamW."),
            Argument("use_bias_correction", "bool", False, "Adam's bias correction."),
            Argument("safeguard_warmup", "bool", False, "Needed with learning rate warm-up."),
            Argument("d0", "float", 1e-6, "First estimate of the rate."),
            Argument("d_coef", "float", 1.0, "Multiplies the rate that is found; 0.5 to 2."),
            Argument("growth_rate", "float", math.inf, "How fast the estimate may grow."),
            Argument("slice_p", "int", 1, "Estimate from every n-th weight; saves memory."),
        ),
        usual_rates=(0.1, 10.0),
        sets_own_rate=True,
    ),
)

OPTIMIZERS: Final[dict[OptimizerName, OptimizerEntry]] = {entry.name: entry for entry in _ENTRIES}

assert set(OPTIMIZERS) == set(get_args(OptimizerName))
