"""What must agree between the optimizer, its arguments, learning rates and their course."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.explain import did_you_mean, plain_number
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.options.groups.optimizer import NetworkOptimizerOptions, OptimizerOptions
from sd_scripts.options.groups.training import TrainingOptions
from sd_scripts.options.key_values import parse_value, split_pair
from sd_scripts.options.optimizer_table import OPTIMIZERS, Argument
from sd_scripts.options.rules.registry import rule
from sd_scripts.options.scheduler_table import SCHEDULERS

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
    if argument.kind == "floats":
        numbers = value if isinstance(value, tuple | list) else ()
        fine = len(numbers) == argument.length and all(
            isinstance(number, int | float) and not isinstance(number, bool) for number in numbers
        )
        return None if fine else f"{argument.length} numbers, as in {argument.default}"
    fine = {
        "float": is_number,
        "int": is_number and isinstance(value, int),
        "bool": isinstance(value, bool),
        "text": True,
    }[argument.kind]
    return None if fine else _KIND_WORDS[argument.kind]


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
                f"for example {name}={_spelled(argument)}",
            )


def _spelled(argument: Argument) -> str:
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
    if not OPTIMIZERS[optimizer.optimizer_type].sets_own_rate:
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


@rule("lr_scheduler", "lr_warmup_steps", "optimizer_type", "optimizer_args")
def warmup_needs_scheduler(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """A warm-up needs a course that has one."""
    entry = SCHEDULERS[optimizer.lr_scheduler]
    if not optimizer.lr_warmup_steps or "lr_warmup_steps" in entry.reads:
        return
    if optimizer.adafactor_sets_rate:
        yield Problem(
            "Adafactor chooses the learning rate itself; the warm-up is not used",
            "lr_warmup_steps, optimizer_type",
            "set lr_warmup_steps to 0, or add relative_step=False to optimizer_args",
            severity="warning",
        )
        return
    instead = "constant_with_warmup" if optimizer.lr_scheduler == "constant" else "cosine"
    yield Problem(
        f"the course {optimizer.lr_scheduler} has no warm-up",
        "lr_warmup_steps, lr_scheduler",
        f"set lr_scheduler to {instead}, or lr_warmup_steps to 0",
    )


@rule("lr_scheduler", "lr_scheduler_min_lr_ratio")
def lowest_rate_needed(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """cosine_with_min_lr falls to a rate that has to be given."""
    needed = "lr_scheduler_min_lr_ratio" in SCHEDULERS[optimizer.lr_scheduler].needs
    if needed and optimizer.lr_scheduler_min_lr_ratio is None:
        yield Problem(
            f"the course {optimizer.lr_scheduler} needs a lowest rate",
            "lr_scheduler_min_lr_ratio, lr_scheduler",
            "set lr_scheduler_min_lr_ratio, for example to 0.1",
        )


@rule("lr_scheduler", "lr_decay_steps")
def decay_needed(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """warmup_stable_decay without a decay never falls."""
    if optimizer.lr_scheduler == "warmup_stable_decay" and not optimizer.lr_decay_steps:
        yield Problem(
            "without decay the learning rate never falls",
            "lr_decay_steps, lr_scheduler",
            "set lr_decay_steps, for example to 0.2",
            severity="warning",
        )


@rule("lr_scheduler", "lr_warmup_steps", "lr_decay_steps", "max_train_steps", "max_train_epochs")
def warmup_fits(optimizer: OptimizerOptions, training: TrainingOptions) -> Iterator[Problem]:
    """Warm-up and decay together leave room in the run."""
    reads = SCHEDULERS[optimizer.lr_scheduler].reads
    names = [name for name in ("lr_warmup_steps", "lr_decay_steps") if name in reads]
    values = {
        "lr_warmup_steps": optimizer.lr_warmup_steps,
        "lr_decay_steps": optimizer.lr_decay_steps,
    }
    total = training.max_train_steps if training.max_train_epochs is None else None
    shares = [
        value if isinstance(value, float) else value / total if total else 0.0
        for value in (values[name] for name in names)
    ]
    if sum(shares) > 1:
        yield Problem(
            f"{' and '.join(names)} take longer than the whole training",
            ", ".join([*names, "max_train_steps"]),
            "usual is a warm-up of at most 10% of all steps",
            severity="warning",
        )


@rule("lr_scheduler", "lr_scheduler_args")
def scheduler_arguments(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """Arguments of the course are those it takes, all of them."""
    entry = SCHEDULERS[optimizer.lr_scheduler]
    both = "lr_scheduler_args, lr_scheduler"
    known = [argument.name for argument in entry.arguments]
    given = dict(map(split_pair, optimizer.lr_scheduler_args))
    for name in given:
        if name not in known:
            hint = f"it takes {', '.join(known)}" if known else "empty lr_scheduler_args"
            yield Problem(f"the course {entry.name} has no argument {name}", both, hint)
    for argument in entry.arguments:
        if argument.name not in given:
            yield Problem(
                f"the course {entry.name} needs {argument.name}: {argument.help}",
                both,
                "for example step_rules=1:100,0.1:200,0.01",
            )
    if "step_rules" in known and "step_rules" in given:
        yield from _step_rule_problems(given["step_rules"])


def _step_rule_problems(text: str) -> Iterator[Problem]:
    *pairs, last = text.strip("'\"").split(",")
    try:
        float(last)
        steps = [(float(factor), int(step)) for factor, step in (p.split(":") for p in pairs)]
    except ValueError:
        steps = [(1.0, -1)]
    numbers = [step for _, step in steps]
    if any(step <= 0 for step in numbers) or numbers != sorted(set(numbers)):
        yield Problem(
            f"step_rules={text} cannot be read",
            "lr_scheduler_args",
            "write factor:step pairs with rising steps and a last factor: 1:100,0.1:200,0.01",
        )


@rule("lr_scheduler", "optimizer_type", "optimizer_args")
def adafactor_course(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """The course "adafactor" belongs to Adafactor's own rate, and the other way round."""
    if optimizer.lr_scheduler == "adafactor" and not optimizer.adafactor_sets_rate:
        yield Problem(
            "this course only shows the rate that Adafactor chooses itself",
            "lr_scheduler, optimizer_type",
            "choose another course, or the optimizer Adafactor without relative_step=False",
        )
    if optimizer.adafactor_sets_rate and optimizer.lr_scheduler not in ("adafactor", "constant"):
        yield Problem(
            "Adafactor chooses the learning rate itself; the course is not used",
            "lr_scheduler, optimizer_type",
            "choose adafactor, or add relative_step=False to optimizer_args",
            severity="warning",
        )
