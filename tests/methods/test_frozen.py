"""A module with a stored weight behaves as the plain one: output, gradients, state dict, copies."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sd_scripts.methods.frozen import (
    ConvShape,
    FrozenBase,
    PlainConv,
    PlainLinear,
    StoredWeight,
    can_store,
    store,
    stored_weight,
)
from sd_scripts.methods.lora_layers import LoraLayer, LoraShape

KINDS = {
    "linear": lambda: (nn.Linear(6, 5), torch.randn(2, 3, 6)),
    "conv": lambda: (nn.Conv2d(4, 6, 3, stride=2, padding=1), torch.randn(2, 4, 7, 5)),
    "pointwise": lambda: (nn.Conv2d(4, 6, 1, bias=False), torch.randn(2, 4, 7, 5)),
}


def pair(kind: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """Return a frozen module, the same one with a stored weight, and an input."""
    torch.manual_seed(3)
    plain, x = KINDS[kind]()
    plain.requires_grad_(False)
    stored = copy.deepcopy(plain)
    weight = stored_weight(stored)
    assert weight is not None
    store(stored, weight)
    return plain, stored, x


def gradient(module: nn.Module, x: Tensor, *, checkpointed: bool = False) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = checkpoint(module, x, use_reentrant=False) if checkpointed else module(x)
    y.sin().sum().backward()
    return y.detach(), x.grad


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_output_and_gradient_are_those_of_the_plain_module(kind: str, checkpointed: bool) -> None:
    plain, stored, x = pair(kind)
    for mine, other in zip(
        gradient(stored, x, checkpointed=checkpointed), gradient(plain, x), strict=True
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("kind", KINDS)
def test_the_dense_weight_is_there_for_all_who_ask(kind: str) -> None:
    plain, stored, _ = pair(kind)
    assert isinstance(stored, type(plain))
    assert isinstance(stored, FrozenBase)
    assert torch.equal(stored.weight, plain.weight)
    state, expected = stored.state_dict(), plain.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert "weight" not in dict(stored.named_parameters())
    copied = copy.deepcopy(stored)
    assert torch.equal(copied.weight, plain.weight)
    assert copied.stored is not stored.stored


def test_a_stored_weight_follows_its_module_to_a_device_but_keeps_its_dtype() -> None:
    _, stored, _ = pair("linear")
    assert stored.to(torch.bfloat16).weight.dtype == torch.float32
    assert stored.to("meta").weight.device.type == "meta"


@pytest.mark.parametrize("kind", KINDS)
def test_products_run_in_autocasts_dtype(kind: str) -> None:
    plain, stored, x = pair(kind)
    with torch.autocast("cpu", torch.bfloat16):
        mine, other = gradient(stored, x), gradient(plain, x)
    assert mine[0].dtype == torch.bfloat16
    torch.testing.assert_close(mine[0], other[0], atol=2e-2, rtol=2e-2)
    torch.testing.assert_close(mine[1], other[1], atol=5e-2, rtol=5e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lora_layer_learns_the_same_on_either(kind: str) -> None:
    plain, stored, x = pair(kind)
    found = []
    for base in (plain, stored):
        layer = LoraLayer("layer", base, LoraShape(2, 1.0), 0)
        nn.init.normal_(layer.lora_up.weight, generator=torch.Generator().manual_seed(1))
        layer.attach()
        y, grad = gradient(base, x)
        found.append((y, grad, layer.lora_up.weight.grad, layer.lora_down.weight.grad))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(2, 2),
        nn.Conv2d(4, 4, 1, groups=2).requires_grad_(False),
        nn.Conv2d(4, 4, 3, padding="same").requires_grad_(False),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect").requires_grad_(False),
        nn.LayerNorm(4).requires_grad_(False),
    ],
)
def test_what_learns_or_walks_otherwise_is_left_alone(module: nn.Module) -> None:
    assert not can_store(module)
    assert stored_weight(module) is None


def test_plain_forms_keep_the_weight_itself() -> None:
    weight = torch.randn(3, 4)
    forms: list[StoredWeight] = [
        PlainLinear(weight),
        PlainConv(weight[..., None, None], ConvShape((1, 1), (0, 0), (1, 1))),
    ]
    assert all(form.dense().data_ptr() == weight.data_ptr() for form in forms)
