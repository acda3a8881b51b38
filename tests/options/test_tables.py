"""Tables of optimizers, schedulers and networks agree with their Literals and with the packages."""

from __future__ import annotations

import importlib
import inspect
import math
from typing import get_args

import pytest

from sd_scripts.options.coerce import coerce
from sd_scripts.options.key_values import parse_value
from sd_scripts.options.network_table import NETWORKS, NetworkName
from sd_scripts.options.optimizer_table import (
    OPTIMIZER_ALIASES,
    OPTIMIZERS,
    OptimizerEntry,
    OptimizerName,
)
from sd_scripts.options.rules.rate_rules import argument_problem
from sd_scripts.options.scheduler_table import (
    SCHEDULERS,
    TORCH_SCHEDULERS,
    SchedulerName,
    TorchSchedulerEntry,
    TorchSchedulerName,
    schedulers_reading,
)
from tests.options.support import SPECS, errors, job, only_error, problems


def test_every_literal_equals_its_table() -> None:
    assert set(get_args(OptimizerName)) == set(OPTIMIZERS)
    assert set(get_args(SchedulerName)) == set(SCHEDULERS)
    assert set(get_args(NetworkName)) == set(NETWORKS)
    assert SPECS["optimizer_type"].choices == tuple(OPTIMIZERS)
    assert SPECS["lr_scheduler"].choices == tuple(SCHEDULERS)
    assert set(get_args(TorchSchedulerName)) == set(TORCH_SCHEDULERS)
    assert SPECS["lr_scheduler_type"].choices == tuple(TORCH_SCHEDULERS)
    assert SPECS["network_module"].choices == tuple(NETWORKS)


def test_every_choice_with_help_has_all_of_it() -> None:
    for spec in SPECS.values():
        if spec.choice_help:
            assert tuple(name for name, _ in spec.choice_help) == spec.choices


def test_schedulers_read_options_that_exist() -> None:
    for entry in SCHEDULERS.values():
        assert set(entry.reads) <= set(SPECS)
        assert set(entry.needs) <= set(entry.reads)
    assert "constant" not in schedulers_reading("lr_warmup_steps")
    assert "cosine" in schedulers_reading("lr_warmup_steps")


@pytest.mark.parametrize("entry", OPTIMIZERS.values(), ids=lambda entry: entry.name)
def test_defaults_of_arguments_are_values_they_take(entry: OptimizerEntry) -> None:
    for argument in entry.arguments:
        assert argument_problem(argument, argument.default) is None, argument
        text = f"{argument.name}={argument.default}"
        given = {"optimizer_type": entry.name, "optimizer_args": [text]}
        assert errors(**given) == []
        wrong = {**given, "optimizer_args": [f"{argument.name}='wrong'"]}
        assert len(errors(**wrong)) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.01", 0.01),
        (".9,.99", (0.9, 0.99)),
        ("(0.9, 0.99)", (0.9, 0.99)),
        ("True", True),
        ("false", False),
        ("None", None),
        ("inf", math.inf),
        ("1:100,0.1", "1:100,0.1"),
        ("{[]: 1}", "{[]: 1}"),
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_argument_values_are_literals_and_nothing_is_run(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("entry", OPTIMIZERS.values(), ids=lambda entry: entry.name)
def test_arguments_are_those_of_the_package(entry: OptimizerEntry) -> None:
    if entry.package:
        pytest.importorskip(entry.package)
    module, _, name = entry.target.partition(":")
    made = getattr(importlib.import_module(module), name)
    taken = inspect.signature(made.__init__).parameters
    preset = dict(entry.preset)
    assert set(preset) <= set(taken)
    for argument in entry.arguments:
        default = preset.get(argument.name, taken[argument.name].default)
        assert default == argument.default, argument.name


@pytest.mark.parametrize("entry", TORCH_SCHEDULERS.values(), ids=lambda entry: entry.name)
def test_arguments_of_courses_are_those_of_pytorch(entry: TorchSchedulerEntry) -> None:
    from torch.optim import lr_scheduler

    taken = inspect.signature(getattr(lr_scheduler, entry.name).__init__).parameters
    names = {argument.name for argument in entry.arguments}
    assert set(entry.needs) <= names <= set(taken)
    empty = inspect.Parameter.empty
    needed = {name for name, parameter in taken.items() if parameter.default is empty}
    given_here = {"self", "optimizer", "max_lr", entry.whole_run}
    assert needed <= {*entry.needs, *given_here}
    for argument in entry.arguments:
        text = f"{argument.name}={argument.default}".replace(" ", "")
        needs = [f"{n}={_example(entry, n)}" for n in entry.needs if n != argument.name]
        given = {"lr_scheduler_type": entry.name, "lr_scheduler_args": [text, *needs]}
        assert errors(learning_rate=1e-4, **given) == []
        if argument.name not in (*entry.needs, entry.whole_run):
            assert taken[argument.name].default == argument.default


def _example(entry: TorchSchedulerEntry, name: str) -> str:
    default = next(one.default for one in entry.arguments if one.name == name)
    return str(default).replace(" ", "")


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("torch.optim.AdamW", "AdamW"),
        ("torch.optim.adam.Adam", None),
        ("bitsandbytes.optim.AdEMAMix8bit", "bitsandbytes.optim.AdEMAMix8bit"),
        ("bitsandbytes.optim.lion8bit", "Lion8bit"),
        ("transformers.Adafactor", "Adafactor"),
        ("came", "pytorch_optimizer.CAME"),
        ("SGD", "SGD"),
        ("torch.optim.SGD", "SGD"),
        ("dadaptation.DAdaptAdam", "DAdaptAdam"),
        ("os.system", None),
    ],
)
def test_optimizers_are_known_by_their_module_too(spelled: str, name: str | None) -> None:
    if name is None:
        assert only_error(optimizer_type=spelled).option == "optimizer_type"
    else:
        assert job(optimizer_type=spelled).optimizer.optimizer_type == name


def test_courses_are_known_by_their_module_too() -> None:
    given = {"lr_scheduler_args": ["gamma=0.9"], "learning_rate": 1e-4}
    made = job(lr_scheduler_type="torch.optim.lr_scheduler.ExponentialLR", **given)
    assert made.optimizer.lr_scheduler_type == "ExponentialLR"
    assert only_error(lr_scheduler_type="my.Course", **given).option == "lr_scheduler_type"


def test_a_name_is_one_optimizer() -> None:
    assert len({name.lower() for name in OPTIMIZERS}) == len(OPTIMIZERS)
    assert not set(OPTIMIZER_ALIASES) & {name.lower() for name in OPTIMIZERS}


@pytest.mark.parametrize("rate", ["1e-4", "0.001"])
def test_the_course_of_adafactor_may_carry_a_rate(rate: str) -> None:
    made = job(optimizer_type="Adafactor", lr_scheduler=f"adafactor:{rate}")
    assert made.optimizer.lr_scheduler == "adafactor"
    wrong = only_error(optimizer_type="Adafactor", lr_scheduler="adafactor:fast")
    assert wrong.option == "lr_scheduler"


def test_choices_do_not_mind_upper_case() -> None:
    for name in ("optimizer_type", "lr_scheduler", "network_module"):
        for choice in SPECS[name].choices or ():
            assert coerce(SPECS[name], choice.upper()) == choice


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_usual_rate_is_not_complained_of(name: OptimizerName) -> None:
    low, _ = OPTIMIZERS[name].usual_rates
    assert problems(optimizer_type=name, learning_rate=low * 5) == []
