"""What must agree between the optimizer, its arguments, learning rates and their course."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.explain import did_you_mean, plain_number
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.options.groups.optimizer import NetworkOptimizerOptions, OptimizerOptions
from sd_scripts.options.key_values import parse_value, split_pair
from sd_scripts.options.optimizer_table import OPTIMIZERS, Argument
from sd_scripts.options.rules.registry import rule

_KIND_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "True or False",
    "text": "a text",
}


def argument_problem(argument: Argument, value: object) -> str | None:
    """What a value of an argument should be, if it is something else."""
    if value is None and argument.optional:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if argument.kind in ("floats", "ints"):
        return _list_problem(argument, value)
    fine = {
        "float": is_number,
        "int": is_number and isinstance(value, int),
        "bool": isinstance(value, bool),
        "text": True,
    }[argument.kind]
    return None if fine else _KIND_WORDS[argument.kind]


def _list_problem(argument: Argument, value: object) -> str | None:
    numbers = value if isinstance(value, tuple | list) else (value,)
    kinds = int if argument.kind == "ints" else int | float
    fine = argument.length in (None, len(numbers)) and all(
        isinstance(number, kinds) and not isinstance(number, bool) for number in numbers
    )
    words = "whole numbers" if argument.kind == "ints" else "numbers"
    if argument.length is None:
        return None if fine else f"{words} with commas between them"
    return None if fine else f"{argument.length} {words}, as in {argument.default}"


@rule("optimizer_type", "optimizer_args")
def known_optimizer_arguments(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """Arguments of the optimizer are among those it knows, and of the right type."""
    entry = OPTIMIZERS[optimizer.optimizer_type]
    both = "optimizer_args, optimizer_type"
    for name, text in map(split_pair, optimizer.optimizer_args):
        argument = entry.argument(name)
        if name == "lr":
            yield Problem(
                "the learning rate is an option of its own",
                "optimizer_args, learning_rate",
                "take lr out and set learning_rate",
            )
        elif argument is None:
            known = [found.name for found in entry.arguments]
            fallback = f"{entry.name} knows {', '.join(known)}"
            yield Problem(
                f"{entry.name} has no argument {name}", both, did_you_mean(name, known, fallback)
            )
        elif wanted := argument_problem(argument, parse_value(text)):
            yield Problem(
                f"{name}={text}: {name} must be {wanted}",
                both,
                f"for example {name}={spelled(argument)}",
            )


def spelled(argument: Argument) -> str:
    """An example of an argument's value, as it is written."""
    example = argument.default
    if isinstance(example, tuple):
        return ",".join(str(number) for number in example)
    if example is None:
        return "True" if argument.kind == "bool" else "0.9"
    return str(example)


@rule("optimizer_type", "optimizer_args")
def adafactor_warmup_init(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """Adafactor's own slow start needs its own rate."""
    arguments = optimizer.optimizer_arguments
    if (
        optimizer.optimizer_type == "Adafactor"
        and arguments.get("warmup_init") is True
        and arguments.get("relative_step") is False
    ):
        yield Problem(
            "warmup_init=True needs relative_step=True",
            "optimizer_args, optimizer_type",
            "take one of the two out",
        )


@rule("optimizer_type", "optimizer_args", "learning_rate", "unet_lr", "text_encoder_lr")
def rates_beside_adafactor(optimizer: NetworkOptimizerOptions) -> Iterator[Problem]:
    """With relative_step, Adafactor uses no rate of ours."""
    if not optimizer.adafactor_sets_rate:
        return
    given = [
        name
        for name, value in (
            ("unet_lr", optimizer.unet_lr),
            ("text_encoder_lr", optimizer.text_encoder_lr),
        )
        if value is not None
    ]
    if given:
        yield Problem(
            "Adafactor chooses the learning rate itself; yours are not used",
            ", ".join(["optimizer_type", *given]),
            "empty them, or add relative_step=False to optimizer_args",
            severity="warning",
        )


@rule("optimizer_type", "learning_rate", "unet_lr", "text_encoder_lr")
def prodigy_wants_one(optimizer: NetworkOptimizerOptions) -> Iterator[Problem]:
    """An optimizer that finds the rate itself multiplies it by ours, so ours should be about 1."""
    if not OPTIMIZERS[optimizer.optimizer_type].sets_own_rate:
        return
    rates = {
        "learning_rate": optimizer.learning_rate if optimizer.unet_lr is None else None,
        "unet_lr": optimizer.unet_lr,
        "text_encoder_lr": max(optimizer.text_encoder_lr or (0,)),
    }
    low = [name for name, rate in rates.items() if rate and rate <= 0.1]
    if low:
        yield Problem(
            f"{optimizer.optimizer_type} finds the learning rate itself and multiplies it by this "
            "one, which is very small",
            ", ".join(["optimizer_type", *low]),
            f"set {' and '.join(low)} to 1",
            severity="warning",
        )


@rule(
    "network_train_unet_only",
    "network_train_text_encoder_only",
    "optimizer_type",
    "learning_rate",
    "unet_lr",
    "text_encoder_lr",
)
def one_rate_for_all(
    network: NetworkOptions, optimizer: NetworkOptimizerOptions
) -> Iterator[Problem]:
    """An optimizer that finds the rate finds one for everything (prodigyopt raises otherwise)."""
    entry = OPTIMIZERS[optimizer.optimizer_type]
    if not entry.sets_own_rate or entry.rates_may_differ:
        return
    rates = {optimizer.effective_unet_lr} if network.trains_unet else set()
    if network.trains_text_encoder:
        rates |= {optimizer.effective_text_encoder_lr(index) for index in (0, 1)}
    if len(rates - {0}) > 1:
        yield Problem(
            f"{optimizer.optimizer_type} finds one learning rate for everything, so the rates "
            "cannot differ",
            "optimizer_type, unet_lr, text_encoder_lr",
            "set learning_rate to 1 and empty the two others (0 still means: does not learn)",
        )


@rule(
    "network_train_text_encoder_only",
    "optimizer_type",
    "optimizer_args",
    "learning_rate",
    "unet_lr",
)
def unusual_rate(network: NetworkOptions, optimizer: NetworkOptimizerOptions) -> Iterator[Problem]:
    """A LoRA wants rates a hundred times those of a whole model; told before a night is lost."""
    entry = OPTIMIZERS[optimizer.optimizer_type]
    rate = optimizer.effective_unet_lr
    if optimizer.adafactor_sets_rate or entry.sets_own_rate or not rate or not network.trains_unet:
        return
    name = "learning_rate" if optimizer.unet_lr is None else "unet_lr"
    low, high = entry.usual_rates
    if rate < low:
        yield Problem(
            f"{rate} is so low that a LoRA hardly learns anything",
            name,
            f"usual with {entry.name} are {low} to {high / 10}",
            severity="warning",
        )
    elif rate > high:
        yield Problem(
            f"{plain_number(rate)} is so high that a LoRA is likely to break",
            name,
            f"usual with {entry.name} are {low} to {high / 10}",
            severity="warning",
        )
