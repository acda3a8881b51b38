"""One LoRA layer on one module: what it adds, how it hooks on and off, where it starts."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sd_scripts.methods.lora_layers import LoraLayer, LoraShape, factor_shapes

KINDS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 5), (2, 3, 6)),
    "linear without bias": (lambda: nn.Linear(6, 5, bias=False), (2, 6)),
    "conv 1x1": (lambda: nn.Conv2d(6, 5, 1), (2, 6, 4, 4)),
    "conv 3x3": (lambda: nn.Conv2d(6, 5, 3, padding=1), (2, 6, 4, 4)),
    "conv 3x3 stride 2": (lambda: nn.Conv2d(6, 5, 3, stride=2, padding=1), (2, 6, 4, 4)),
    "conv with reflection": (
        lambda: nn.Conv2d(6, 5, 3, padding=1, padding_mode="reflect"),
        (2, 6, 4, 4),
    ),
    "conv with named padding": (lambda: nn.Conv2d(6, 5, 3, padding="same"), (2, 6, 4, 4)),
}


def pair(kind: str, dropout: float = 0.0) -> tuple[nn.Module, LoraLayer, Tensor]:
    """A frozen module, a layer on it with random factors (not attached), and an input."""
    make, size = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        base = make().requires_grad_(False)
        layer = LoraLayer("lora_unet_x", base, LoraShape(3, 2.0, dropout), seed=1)
        nn.init.normal_(layer.lora_up.weight)
        return base, layer, torch.randn(size)


def merged(base: Any, layer: LoraLayer) -> nn.Module:
    """A copy of the base with ΔW = up @ down · alpha / rank added to its weight."""
    down, up = layer.lora_down.weight.detach(), layer.lora_up.weight.detach()
    other = copy.deepcopy(base)
    delta = (up.flatten(1) @ down.flatten(1)).view_as(other.weight)
    other.weight.data += delta * layer.shape.alpha / layer.shape.rank
    return other


@pytest.mark.parametrize("kind", KINDS)
def test_output_is_that_of_the_merged_weight(kind: str) -> None:
    base, layer, x = pair(kind)
    expected = merged(base, layer)(x)
    layer.attach()
    torch.testing.assert_close(base(x), expected)
    layer.multiplier = 0.5
    half = base(x)
    layer.detach()
    torch.testing.assert_close(half, (base(x) + expected) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_untrained_layer_and_multiplier_zero_change_nothing(kind: str) -> None:
    base, layer, x = pair(kind)
    before = base(x)
    layer.attach()
    layer.multiplier = 0.0
    assert torch.equal(base(x), before)
    layer.multiplier = 1.0
    nn.init.zeros_(layer.lora_up.weight)
    assert torch.equal(base(x), before)


def test_attaching_keeps_names_and_classes_and_detaching_leaves_no_trace() -> None:
    base, layer, _ = pair("linear")
    names, attributes, kind = list(base.state_dict()), dict(base.__dict__), type(base)
    layer.attach()
    assert list(base.state_dict()) == names
    assert type(base) is kind
    assert list(base.parameters()) == [base.weight, base.bias]
    layer.detach()
    assert base.__dict__ == attributes


def test_hooks_on_the_base_still_run() -> None:
    base, layer, x = pair("linear")
    seen: list[Tensor] = []
    base.register_forward_hook(lambda module, inputs, output: seen.append(output))
    layer.attach()
    y = base(x)
    assert seen[0] is y


def test_two_layers_stack_and_come_off_in_order() -> None:
    base, first, x = pair("linear")
    _, second, _ = pair("linear")
    second._base = (base,)
    plain = base(x)
    first.attach()
    once = base(x) - plain
    second.attach()
    torch.testing.assert_close(base(x), plain + 2 * once)
    with pytest.raises(AssertionError, match="outermost"):
        first.detach()
    second.detach()
    first.detach()
    assert torch.equal(base(x), plain)


def test_layer_state_has_the_tensors_of_a_file() -> None:
    base, layer, _ = pair("conv 3x3")
    shapes = {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()}
    assert shapes == {
        "alpha": (),
        "lora_down.weight": (3, 6, 3, 3),
        "lora_up.weight": (5, 3, 1, 1),
    }
    assert layer.alpha.item() == 2.0
    assert factor_shapes(base, 3) == ([3, 6, 3, 3], [5, 3, 1, 1])  # type: ignore[arg-type]


def test_start_values_depend_on_seed_and_name_only() -> None:
    def start(seed: int, name: str, module: nn.Module) -> Tensor:
        return LoraLayer(name, module, LoraShape(4, 1.0), seed).lora_down.weight

    one = start(5, "lora_unet_a", nn.Linear(64, 8))
    torch.rand(3)
    assert torch.equal(start(5, "lora_unet_a", nn.Linear(64, 32, bias=False)), one)
    assert not torch.equal(start(5, "lora_unet_b", nn.Linear(64, 8)), one)
    assert not torch.equal(start(6, "lora_unet_a", nn.Linear(64, 8)), one)


@pytest.mark.parametrize("kind", ["linear", "conv 3x3"])
def test_start_values_are_kaiming_uniform_and_zeros(kind: str) -> None:
    base = KINDS[kind][0]()
    layer = LoraLayer("lora_unet_a", base, LoraShape(64, 1.0), 5)
    down = layer.lora_down.weight
    bound = math.sqrt(6 / ((1 + 5) * down[0].numel()))  # a = √5
    assert down.dtype == torch.float32
    assert 0.95 * bound < down.abs().max() <= bound
    assert down.abs().mean().item() == pytest.approx(bound / 2, rel=0.1)
    assert not layer.lora_up.weight.any()


def test_making_a_layer_leaves_global_random_numbers_alone() -> None:
    base = nn.Linear(8, 8)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    LoraLayer("lora_unet_a", base, LoraShape(4, 1.0), 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_acts_on_the_narrow_product_in_training_only() -> None:
    base, layer, x = pair("linear", dropout=0.5)
    layer.attach()
    layer.eval()
    without = base(x)
    layer.train()
    torch.manual_seed(8)
    ours = base(x)
    torch.manual_seed(8)
    narrow = functional.dropout(functional.linear(x, layer.lora_down.weight), 0.5)
    low = functional.linear(narrow, layer.lora_up.weight) * layer.scale
    layer.detach()
    torch.testing.assert_close(ours, base(x) + low)
    assert not torch.allclose(ours, without)


def test_gradients_with_dropout_reach_both_factors() -> None:
    base, layer, x = pair("conv 3x3", dropout=0.3)
    layer.attach()
    base(x).sum().backward()
    assert layer.lora_down.weight.grad is not None
    assert layer.lora_up.weight.grad is not None


class Eightbit(nn.Linear):
    """A Linear with a forward of its own, as quantised layers have."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.round(), self.bias)


def test_base_with_a_forward_of_its_own_is_asked_for_its_output() -> None:
    base = Eightbit(6, 5).requires_grad_(False)
    layer = LoraLayer("lora_unet_x", base, LoraShape(3, 2.0), 1)
    nn.init.normal_(layer.lora_up.weight)
    x = torch.randn(2, 6, requires_grad=True)
    low = x @ layer.lora_down.weight.T @ layer.lora_up.weight.T * layer.scale
    expected = base(x) + low
    layer.attach()
    torch.testing.assert_close(base(x), expected)


def test_base_that_learns_gets_its_gradient() -> None:
    base, layer, x = pair("linear")
    base.requires_grad_(True)
    layer.attach()
    base(x).sum().backward()
    assert base.weight.grad is not None
    assert layer.lora_up.weight.grad is not None


def test_copying_the_base_copies_the_layer_with_it() -> None:
    base, layer, x = pair("linear")
    layer.attach()
    twin = copy.deepcopy(nn.Sequential(base))
    with_lora = base(x)
    nn.init.zeros_(layer.lora_up.weight)
    torch.testing.assert_close(twin(x), with_lora)
    assert not torch.allclose(base(x), with_lora)


def test_copying_the_layers_alone_shares_the_base() -> None:
    base, layer, _ = pair("linear")
    layer.attach()
    twin = copy.deepcopy(nn.ModuleDict({"a": layer}))["a"]
    assert isinstance(twin, LoraLayer)
    assert twin.base is base
    assert not twin.attached
    assert layer.attached
    assert twin.lora_up.weight is not layer.lora_up.weight
    assert torch.equal(twin.lora_up.weight, layer.lora_up.weight)


def test_half_precision_base_keeps_float32_factors_under_autocast() -> None:
    base, layer, x = pair("conv 1x1")
    base.bfloat16()
    layer.attach()
    with torch.autocast("cpu", torch.bfloat16):
        y = base(x)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert layer.lora_down.weight.dtype == torch.float32
    assert layer.lora_down.weight.grad is not None
    assert layer.lora_down.weight.grad.dtype == torch.float32
    assert base.weight.grad is None


def test_grouped_convolution_is_refused() -> None:
    with pytest.raises(AssertionError, match="grouped"):
        LoraLayer("lora_unet_x", nn.Conv2d(4, 4, 3, groups=2), LoraShape(2, 1.0), 0)
