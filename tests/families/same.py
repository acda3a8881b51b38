"""What tests of loading ask: are these the very weights, and what was said when they were not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from sd_scripts.errors import UserError
from sd_scripts.families.base import LoadedModel
from tests.families.conftest import Stored
from tests.support.tiny_models import tiny_model


def parts_of(model: LoadedModel) -> list[nn.Module]:
    assert model.vae is not None
    return [model.unet, model.vae, *model.text_encoders]


def assert_same(first: nn.Module, second: nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def assert_is_tiny_model(stored: Stored, model: LoadedModel) -> None:
    made = tiny_model(stored.name)
    for ours, theirs in zip(
        parts_of(model), (made.unet, made.vae, *made.text_encoders), strict=True
    ):
        assert_same(ours, theirs)


def problem_of(load: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        load()
    (problem,) = caught.value.problems
    assert problem.hint
    return problem.message, problem.option or ""
