"""Tables of optimizers, schedulers and networks agree with their Literals and with the packages."""

from __future__ import annotations

import inspect
import math
from typing import get_args

import pytest

from sd_scripts.options.coerce import coerce
from sd_scripts.options.key_values import parse_value
from sd_scripts.options.network_table import NETWORKS, NetworkName
from sd_scripts.options.optimizer_table import OPTIMIZERS, OptimizerEntry, OptimizerName
from sd_scripts.options.rules.rate_rules import argument_problem
from sd_scripts.options.scheduler_table import SCHEDULERS, SchedulerName, schedulers_reading
from tests.options.support import SPECS, errors, problems


def test_every_literal_equals_its_table() -> None:
    assert set(get_args(OptimizerName)) == set(OPTIMIZERS)
    assert set(get_args(SchedulerName)) == set(SCHEDULERS)
    assert set(get_args(NetworkName)) == set(NETWORKS)
    assert SPECS["optimizer_type"].choices == tuple(OPTIMIZERS)
    assert SPECS["lr_scheduler"].choices == tuple(SCHEDULERS)
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
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_argument_values_are_literals_and_nothing_is_run(text: str, value: object) -> None:
    assert parse_value(text) == value


def _signature(entry: OptimizerEntry) -> inspect.Signature:
    if entry.name == "AdamW":
        import torch

        return inspect.signature(torch.optim.AdamW.__init__)
    if entry.name == "Adafactor":
        from transformers.optimization import Adafactor

        return inspect.signature(Adafactor.__init__)
    assert entry.package is not None
    package = pytest.importorskip(entry.package)
    holder = package.optim if entry.package == "bitsandbytes" else package
    return inspect.signature(getattr(holder, entry.name).__init__)


@pytest.mark.parametrize("entry", OPTIMIZERS.values(), ids=lambda entry: entry.name)
def test_arguments_are_those_of_the_package(entry: OptimizerEntry) -> None:
    taken = _signature(entry).parameters
    for argument in entry.arguments:
        assert argument.name in taken
        assert taken[argument.name].default == argument.default, argument.name


def test_choices_do_not_mind_upper_case() -> None:
    for name in ("optimizer_type", "lr_scheduler", "network_module"):
        for choice in SPECS[name].choices or ():
            assert coerce(SPECS[name], choice.upper()) == choice


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_usual_rate_is_not_complained_of(name: OptimizerName) -> None:
    low, _ = OPTIMIZERS[name].usual_rates
    assert problems(optimizer_type=name, learning_rate=low * 5) == []
