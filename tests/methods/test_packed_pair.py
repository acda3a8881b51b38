"""A pair of packed weights gives what the plain weight gives, keeps no third copy, and moves on."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sd_scripts.methods import packed_pair
from sd_scripts.methods.frozen import (
    ConvShape,
    FrozenConv2d,
    FrozenLinear,
    PlainConv,
    PlainLinear,
    StoredWeight,
    store,
)
from sd_scripts.methods.packed_pair import (
    DirectLinear,
    PackedConvPair,
    PackedLinearPair,
    can_pair,
)

pytestmark = pytest.mark.skipif(
    not can_pair(torch.float32), reason="this build of PyTorch has no such products"
)
WALKS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": (3, 1), "padding": (1, 0)},
    {"kernel_size": 1},
]
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
DTYPES = [dtype for dtype in ROUNDING if can_pair(dtype)]


def far(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def assert_same_products(pair: StoredWeight, plain: StoredWeight, x: Tensor) -> None:
    bias = torch.randn(len(plain.dense()), dtype=x.dtype)
    for given in (bias, None):
        y = plain.product(x, given)
        assert far(pair.product(x, given), y) < ROUNDING[x.dtype]
    grad = torch.randn_like(y)
    expected = plain.backward_product(grad, x.shape)
    found = pair.backward_product(grad, x.shape)
    assert found.shape == expected.shape
    assert far(found, expected) < ROUNDING[x.dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("walk", WALKS)
def test_both_products_are_the_convolutions_at_every_size(
    walk: dict[str, Any], dtype: torch.dtype
) -> None:
    conv = nn.Conv2d(20, 36, **walk).to(dtype).requires_grad_(False)
    shape = ConvShape.of(conv)
    pair, plain = PackedConvPair(conv.weight, shape), PlainConv(conv.weight, shape)
    for batch, height, width in ((1, 9, 8), (3, 4, 4), (1, 16, 24)):
        assert_same_products(pair, plain, torch.randn(batch, 20, height, width, dtype=dtype))
    assert torch.equal(pair.dense(), conv.weight)


def test_the_order_of_a_convolution_does_not_depend_on_which_bucket_came_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a resumed run, which begins with another bucket, could differ in the last bits."""
    asked: list[tuple[Any, ...]] = []
    reorder = torch.ops.mkldnn._reorder_convolution_weight

    def ordered(weight: Tensor, *how: Any) -> Any:
        asked.append(how)
        return reorder(weight, *how)

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_convolution_weight", ordered)
    weight, shape = torch.randn(36, 20, 3, 3), ConvShape((1, 1), (1, 1), (1, 1))
    pairs, later = [], torch.randn(1, 20, 8, 24)
    for batch, height, width in ((1, 9, 8), (4, 16, 24)):
        pair = PackedConvPair(weight, shape)
        y = pair.product(torch.randn(batch, 20, height, width), None)
        pair.backward_product(torch.randn_like(y), torch.Size((batch, 20, height, width)))
        pairs.append(pair)
    assert asked[:2] == asked[2:]
    assert torch.equal(*(pair.product(later, None) for pair in pairs))


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_products_are_the_linears_for_any_number_of_rows(dtype: torch.dtype) -> None:
    weight = torch.randn(36, 20, dtype=dtype)
    pair, plain = PackedLinearPair(weight), PlainLinear(weight)
    for rows in (77, 1, 300):
        assert_same_products(pair, plain, torch.randn(rows, 20, dtype=dtype))
        assert_same_products(DirectLinear(weight), plain, torch.randn(rows, 20, dtype=dtype))
    assert torch.equal(pair.dense(), weight)


def test_what_was_first_seen_changes_no_bit() -> None:
    """A run that is resumed may begin with a picture of another size."""
    weight, matrix = torch.randn(64, 48, 3, 3), torch.randn(64, 48)
    shape = ConvShape((1, 1), (1, 1), (1, 1))
    convs = [PackedConvPair(weight, shape) for _ in range(2)]
    linears = [PackedLinearPair(matrix) for _ in range(2)]
    for conv, linear, side in zip(convs, linears, (4, 32), strict=True):
        x, rows = torch.randn(1, 48, side, side), torch.randn(side, 48)
        conv.backward_product(conv.product(x, None), x.shape)
        linear.backward_product(linear.product(rows, None), rows.shape)
    x, rows = torch.randn(2, 48, 8, 8), torch.randn(77, 48)
    one, other = (conv.product(x, None) for conv in convs)
    assert torch.equal(one, other)
    assert torch.equal(*(conv.backward_product(one, x.shape) for conv in convs))
    one, other = (linear.product(rows, None) for linear in linears)
    assert torch.equal(one, other)
    assert torch.equal(*(linear.backward_product(one, rows.shape) for linear in linears))


def test_a_packed_module_moves_and_copies_and_saves_its_weight() -> None:
    conv = nn.Conv2d(4, 6, 3, padding=1).requires_grad_(False)
    linear = nn.Linear(4, 6).requires_grad_(False)
    kept = [conv.weight.detach().clone(), linear.weight.detach().clone()]
    store(conv, PackedConvPair(conv.weight, ConvShape.of(conv)))
    store(linear, PackedLinearPair(linear.weight))
    assert isinstance(conv, FrozenConv2d)
    assert isinstance(linear, FrozenLinear)
    conv(torch.randn(1, 4, 5, 5).requires_grad_(True)).sum().backward()
    linear(torch.randn(5, 4).requires_grad_(True)).sum().backward()
    for module, weight in zip((conv, linear), kept, strict=True):
        assert torch.equal(module.state_dict()["weight"], weight)
        assert torch.equal(copy.deepcopy(module).weight, weight)
        assert module.to("meta").weight.shape == weight.shape


def test_a_linear_that_is_read_as_it_is_moves_copies_and_takes_other_dtypes() -> None:
    linear = nn.Linear(4, 6).requires_grad_(False)
    weight, again = linear.weight, nn.Linear(4, 6).requires_grad_(False)
    store(linear, DirectLinear(weight))
    assert linear.weight.data_ptr() == weight.data_ptr(), "no copy"
    again.load_state_dict(linear.state_dict())
    x = torch.randn(5, 4)
    torch.testing.assert_close(copy.deepcopy(linear)(x), again(x))
    assert linear.to("meta").weight.shape == weight.shape
    direct = DirectLinear(weight)
    wide = x.double()
    found = direct.product(wide, None)
    torch.testing.assert_close(found, wide @ weight.double().t())
    grad = torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(direct.backward_product(grad, x.shape), grad @ weight.double())


def test_products_in_another_dtype_are_the_plain_ones() -> None:
    weight = torch.randn(6, 4, 3, 3)
    pair = PackedConvPair(weight, ConvShape((1, 1), (1, 1), (1, 1)))
    x = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    assert pair.backward_product(pair.product(x, None), x.shape).dtype == torch.float64
    found = pair.product(x, None)
    torch.testing.assert_close(found, nn.functional.conv2d(x, weight.double(), None, padding=1))


@pytest.mark.parametrize("raised", [AttributeError, NotImplementedError, RuntimeError])
@pytest.mark.parametrize(
    ("of", "name"),
    [
        (PackedConvPair, "_convolution"),
        (PackedConvPair, "_ordered"),
        (packed_pair, "_ordered_matrix"),
    ],
)
def test_a_build_without_the_products_has_no_pairs(
    of: object, name: str, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> Tensor:
        raise raised("not here")

    monkeypatch.setattr(of, name, missing)
    assert not can_pair(torch.float32)


def test_a_processor_without_bf16_trains_without_pairs() -> None:
    """oneDNN refuses to bring bf16 weights into an order there."""
    asked = "import torch; from sd_scripts.methods.packed_pair import can_pair; "
    command = [sys.executable, "-c", asked + "print(can_pair(torch.bfloat16))"]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("True", "False")


def test_wrong_products_and_other_dtypes_have_no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not can_pair(torch.float64)
    monkeypatch.setattr(packed_pair, "_linear", lambda x, weight, bias: x @ weight.to_dense() * 0)
    assert not can_pair(torch.float32)
