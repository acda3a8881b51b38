"""What a row of the optimizer table says, and the arguments that many optimizers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ArgumentKind = Literal["float", "int", "bool", "floats", "ints", "text"]


@dataclass(frozen=True)
class Argument:
    """One name=value argument of an optimizer, scheduler or network.

    `length` is how many numbers a "floats" argument has ("ints" has any number of them);
    `optional` ones may be None.
    """

    name: str
    kind: ArgumentKind
    default: object
    help: str
    length: int | None = None
    optional: bool = False


@dataclass(frozen=True)
class OptimizerEntry:
    """An optimizer: what it is for, where it is, what it needs, and its arguments.

    `target` is "module:class". `package` is what must be installed for it (None: always there),
    `extra` the part of the set-up that brings it. `preset` are arguments that the name stands for
    unless the user gives others.
    `sets_own_rate`: it adapts the learning rate itself and wants learning_rate = 1; unless
    `rates_may_differ`, it wants the same rate everywhere. `schedule_free`: it needs no course of
    the rate, and learns on other weights than those that are saved. `paged`: it moves its memory
    between a graphics card and main memory.
    `usual_rates` are the lowest and highest rates that make sense for a LoRA.
    """

    name: str
    text: str
    target: str
    arguments: tuple[Argument, ...]
    usual_rates: tuple[float, float] = (1e-5, 1e-2)
    package: str | None = None
    extra: str | None = None
    preset: tuple[tuple[str, object], ...] = ()
    sets_own_rate: bool = False
    rates_may_differ: bool = False
    schedule_free: bool = False
    paged: bool = False

    def argument(self, name: str) -> Argument | None:
        """The argument of that name, if there is one."""
        return next((found for found in self.arguments if found.name == name), None)


def flag(name: str, default: bool, text: str) -> Argument:
    """An argument that is True or False."""
    return Argument(name, "bool", default, text)


def number(name: str, default: float | None, text: str) -> Argument:
    """An argument that is a number; one without a default may be None."""
    return Argument(name, "float", default, text, optional=default is None)


def whole(name: str, default: int, text: str) -> Argument:
    """An argument that is a whole number."""
    return Argument(name, "int", default, text)


def betas(*default: float) -> Argument:
    """How long past gradients, squares and so on are remembered."""
    text = "How long past gradients are remembered."
    return Argument("betas", "floats", default, text, length=len(default))


def decay(default: float) -> Argument:
    """Weight decay."""
    return number("weight_decay", default, "Pulls weights towards zero; 0 is off.")


def eps(default: float) -> Argument:
    """A stabiliser."""
    return number("eps", default, "Small number that keeps divisions stable.")


def momentum(default: float) -> Argument:
    """Momentum."""
    return number("momentum", default, "How much of the last move is kept; 0 is off.")


AMSGRAD = flag("amsgrad", False, "Use the AMSGrad variant.")
MAXIMIZE = flag("maximize", False, "Climb instead of descend.")
FOREACH = Argument("foreach", "bool", None, "Update many tensors in one go.", optional=True)
FUSED = Argument("fused", "bool", None, "Use the fused kernel.", optional=True)
DECOUPLED = flag("decoupled_weight_decay", False, "Weight decay as in AdamW.")
MIN_8BIT = whole("min_8bit_size", 4096, "Smaller tensors stay in 32 bits.")
D0 = number("d0", 1e-6, "First estimate of the rate.")
GROWTH = number("growth_rate", float("inf"), "How fast the estimate may grow.")
ADAM = (betas(0.9, 0.999), eps(1e-8))
LION_RATES = (1e-6, 1e-3)
OWN_RATES = (0.1, 10.0)
LARGE_RATES = (1e-3, 10.0)
SGD = (number("dampening", 0.0, "Weakens new gradients beside the momentum."), decay(0.0))


def from_bitsandbytes(name: str, text: str, *arguments: Argument, kind: str = "") -> OptimizerEntry:
    """A row for bitsandbytes; `kind` is its class if that has another name."""
    plain = kind or name.rpartition(".")[2]
    return OptimizerEntry(
        name,
        text,
        f"bitsandbytes.optim:{plain}",
        (*arguments, MIN_8BIT),
        usual_rates=LION_RATES if "Lion" in name else (1e-5, 1e-2),
        package="bitsandbytes",
        extra="8bit",
        paged=plain.startswith("Paged"),
    )
