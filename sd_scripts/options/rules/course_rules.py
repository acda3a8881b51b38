"""What must agree between the course of the learning rate, its arguments and the optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.groups.optimizer import OptimizerOptions
from sd_scripts.options.groups.training import TrainingOptions
from sd_scripts.options.key_values import parse_value, split_pair
from sd_scripts.options.optimizer_table import OPTIMIZERS, Argument
from sd_scripts.options.rules.rate_rules import argument_problem, spelled
from sd_scripts.options.rules.registry import rule
from sd_scripts.options.scheduler_table import SCHEDULERS, TORCH_SCHEDULERS


@rule("lr_scheduler", "lr_scheduler_type", "lr_warmup_steps", "optimizer_type", "optimizer_args")
def warmup_needs_scheduler(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """A warm-up needs a course that has one."""
    if not optimizer.lr_warmup_steps:
        return
    if optimizer.needs_no_course:
        entry = OPTIMIZERS[optimizer.optimizer_type]
        if entry.argument("warmup_steps"):
            hint = "set lr_warmup_steps to 0, and warmup_steps=100 or so in optimizer_args"
        elif entry.schedule_free:
            hint = "set lr_warmup_steps to 0"
        else:
            hint = "set lr_warmup_steps to 0, or add relative_step=False to optimizer_args"
        yield Problem(
            f"{entry.name} sees to the learning rate itself; the warm-up is not used",
            "lr_warmup_steps, optimizer_type",
            hint,
            severity="warning",
        )
    elif optimizer.lr_scheduler_type is not None:
        yield Problem(
            f"the course {optimizer.lr_scheduler_type} has no warm-up",
            "lr_warmup_steps, lr_scheduler_type",
            "set lr_warmup_steps to 0, or choose a course of lr_scheduler",
        )
    elif "lr_warmup_steps" not in SCHEDULERS[optimizer.lr_scheduler].reads:
        instead = "constant_with_warmup" if optimizer.lr_scheduler == "constant" else "cosine"
        yield Problem(
            f"the course {optimizer.lr_scheduler} has no warm-up",
            "lr_warmup_steps, lr_scheduler",
            f"set lr_scheduler to {instead}, or lr_warmup_steps to 0",
        )


@rule("lr_scheduler", "lr_scheduler_type")
def one_course(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """A class of PyTorch takes the place of the usual course."""
    if optimizer.lr_scheduler_type is not None and optimizer.lr_scheduler != "constant":
        yield Problem(
            f"two courses are given; {optimizer.lr_scheduler_type} is used",
            "lr_scheduler_type, lr_scheduler",
            "empty lr_scheduler_type, or set lr_scheduler to constant",
            severity="warning",
        )


@rule("lr_scheduler", "lr_scheduler_type", "optimizer_type", "optimizer_args")
def course_of_no_use(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """Schedule-free optimizers average weights instead of lowering the rate."""
    if not OPTIMIZERS[optimizer.optimizer_type].schedule_free:
        return
    given = [
        name
        for name, is_given in (
            ("lr_scheduler", optimizer.lr_scheduler != "constant"),
            ("lr_scheduler_type", optimizer.lr_scheduler_type is not None),
        )
        if is_given
    ]
    if given:
        yield Problem(
            f"{optimizer.optimizer_type} needs no course of the rate; it stays the same",
            ", ".join([*given, "optimizer_type"]),
            "set lr_scheduler to constant and empty lr_scheduler_type",
            severity="warning",
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


@rule("lr_scheduler", "lr_scheduler_type", "lr_scheduler_args")
def scheduler_arguments(optimizer: OptimizerOptions) -> Iterator[Problem]:
    """Arguments of the course are those it takes, of the right type, and none is missing."""
    name, arguments, needs = _course(optimizer)
    chosen_by = "lr_scheduler_type" if optimizer.lr_scheduler_type else "lr_scheduler"
    both = f"lr_scheduler_args, {chosen_by}"
    known = {argument.name: argument for argument in arguments}
    given = dict(map(split_pair, optimizer.lr_scheduler_args))
    for argument_name, text in given.items():
        argument = known.get(argument_name)
        if argument is None:
            hint = f"it takes {', '.join(known)}" if known else "empty lr_scheduler_args"
            yield Problem(f"the course {name} has no argument {argument_name}", both, hint)
        elif wanted := argument_problem(argument, parse_value(text)):
            yield Problem(
                f"{argument_name}={text}: {argument_name} must be {wanted}",
                both,
                f"for example {argument_name}={spelled(argument)}",
            )
    for argument_name in needs:
        if argument_name not in given:
            argument = known[argument_name]
            yield Problem(
                f"the course {name} needs {argument_name}: {argument.help}",
                both,
                f"for example {argument_name}={spelled(argument)}",
            )
    if "step_rules" in known and "step_rules" in given:
        yield from _step_rule_problems(given["step_rules"])


def _course(optimizer: OptimizerOptions) -> tuple[str, tuple[Argument, ...], tuple[str, ...]]:
    """Name of the course that is used, the arguments it takes and those it needs."""
    if optimizer.lr_scheduler_type is not None:
        chosen = TORCH_SCHEDULERS[optimizer.lr_scheduler_type]
        return chosen.name, chosen.arguments, chosen.needs
    entry = SCHEDULERS[optimizer.lr_scheduler]
    return entry.name, entry.arguments, tuple(argument.name for argument in entry.arguments)


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
