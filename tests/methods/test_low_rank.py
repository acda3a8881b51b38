"""The fused low-rank functions compute and differentiate what the plain composition does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from sd_scripts.methods.frozen import ConvShape
from sd_scripts.methods.low_rank import low_rank_conv, low_rank_linear

SCALE = 0.375
CONVS = [
    pytest.param(1, ConvShape((1, 1), (0, 0), (1, 1)), id="pointwise"),
    pytest.param(3, ConvShape((1, 1), (1, 1), (1, 1)), id="3x3"),
    pytest.param(3, ConvShape((2, 2), (1, 1), (1, 1)), id="3x3 stride 2"),
    pytest.param(1, ConvShape((2, 2), (0, 0), (1, 1)), id="1x1 stride 2"),
    pytest.param(3, ConvShape((1, 1), (2, 2), (2, 2)), id="3x3 dilated"),
]


def randn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape) * 31 + seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def linear_parts(dtype: torch.dtype, bias: bool = True) -> tuple[Tensor, ...]:
    x = randn(2, 5, 7, dtype=dtype, seed=1).requires_grad_()
    down = randn(3, 7, dtype=dtype, seed=2).requires_grad_()
    up = randn(6, 3, dtype=dtype, seed=3).requires_grad_()
    weight = randn(6, 7, dtype=dtype, seed=4)
    return x, down, up, weight, randn(6, dtype=dtype, seed=5) if bias else torch.empty(0)


def plain_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor
) -> Tensor:
    low = functional.linear(functional.linear(x, down.to(x.dtype)), up.to(x.dtype))
    return functional.linear(x, weight, bias) + low * SCALE


def conv_parts(kernel: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    x = randn(2, 4, 6, 5, dtype=dtype, seed=1).requires_grad_()
    down = randn(3, 4, kernel, kernel, dtype=dtype, seed=2).requires_grad_()
    up = randn(6, 3, 1, 1, dtype=dtype, seed=3).requires_grad_()
    return x, down, up, randn(6, 4, kernel, kernel, dtype=dtype, seed=4), randn(6, dtype=dtype)


def plain_conv(
    x: Tensor, base: tuple[Tensor, Tensor], shape: ConvShape, down: Tensor, up: Tensor
) -> Tensor:
    low = functional.conv2d(functional.conv2d(x, down, None, *shape), up)
    return functional.conv2d(x, *base, *shape) + low * SCALE


@pytest.mark.parametrize("bias", [True, False])
def test_linear_gradients_are_right_numerically(bias: bool) -> None:
    x, down, up, weight, b = linear_parts(torch.float64, bias)
    base = (weight, b if bias else None)
    assert torch.autograd.gradcheck(
        lambda x, down, up: low_rank_linear(x, base, down, up, SCALE), (x, down, up)
    )


@pytest.mark.parametrize(("kernel", "shape"), CONVS)
def test_conv_gradients_are_right_numerically(kernel: int, shape: ConvShape) -> None:
    x, down, up, weight, bias = conv_parts(kernel, torch.float64)
    assert torch.autograd.gradcheck(
        lambda x, down, up: low_rank_conv(x, (weight, bias, shape), down, up, SCALE), (x, down, up)
    )


@pytest.mark.parametrize("scale", [1.0, 0.375])
def test_linear_equals_the_plain_composition_in_float32(scale: float) -> None:
    ours = linear_parts(torch.float32)
    theirs = tuple(tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in ours)
    x, down, up, weight, bias = ours
    y = low_rank_linear(x, (weight, bias), down, up, scale)
    x_, down_, up_, weight_, bias_ = theirs
    low = functional.linear(functional.linear(x_, down_), up_)
    y_ = functional.linear(x_, weight_, bias_) + low * scale
    torch.testing.assert_close(y, y_)
    grad = randn(*y.shape, dtype=torch.float32, seed=9)
    y.backward(grad)
    y_.backward(grad)
    for mine, other in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
    assert weight.grad is None
    assert bias.grad is None


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("kernel", "shape"), CONVS)
def test_conv_equals_the_plain_composition_in_float32(
    kernel: int, shape: ConvShape, channels_last: bool
) -> None:
    results = []
    for fused in (True, False):
        x, down, up, weight, bias = conv_parts(kernel, torch.float32)
        seen = x.contiguous(memory_format=torch.channels_last) if channels_last else x
        if fused:
            y = low_rank_conv(seen, (weight, bias, shape), down, up, SCALE)
        else:
            y = plain_conv(seen, (weight, bias), shape, down, up)
        y.backward(randn(*y.shape, dtype=torch.float32, seed=9))
        results.append((y, x.grad, down.grad, up.grad))
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other)


def test_zero_up_leaves_the_base_output_exactly() -> None:
    x, down, up, weight, bias = linear_parts(torch.float32)
    y = low_rank_linear(x, (weight, bias), down, torch.zeros_like(up), SCALE)
    assert torch.equal(y, functional.linear(x, weight, bias))
    x, down, up, weight, bias = conv_parts(3, torch.float32)
    shape = ConvShape((1, 1), (1, 1), (1, 1))
    y = low_rank_conv(x, (weight, bias, shape), down, torch.zeros_like(up), SCALE)
    assert torch.equal(y, functional.conv2d(x, weight, bias, padding=1))


def test_autocast_computes_in_its_dtype_and_keeps_gradients_in_the_factors() -> None:
    results = []
    for fused in (True, False):
        x, down, up, weight, bias = linear_parts(torch.float32)
        weight, bias = weight.bfloat16(), bias.bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            if fused:
                y = low_rank_linear(x, (weight, bias), down, up, SCALE)
            else:
                y = plain_linear(x, weight, bias, down, up)
            assert y.dtype == torch.bfloat16
        y.float().square().sum().backward()
        assert x.grad is not None
        assert (x.grad.dtype, down.grad.dtype, up.grad.dtype) == (torch.float32,) * 3  # type: ignore[union-attr]
        results.append((y, x.grad, down.grad, up.grad))
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=0.03, atol=0.25)


def test_bfloat16_conv_is_as_near_to_float32_as_the_plain_composition() -> None:
    shape = ConvShape((1, 1), (1, 1), (1, 1))
    x, down, up, weight, bias = conv_parts(3, torch.float32)
    plain_conv(x, (weight, bias), shape, down, up).sum().backward()
    exact = (x.grad, down.grad, up.grad)
    errors = []
    for fused in (True, False):
        x, down, up, weight, bias = conv_parts(3, torch.float32)
        base = (weight.bfloat16(), bias.bfloat16())
        with torch.autocast("cpu", torch.bfloat16):
            if fused:
                y = low_rank_conv(x, (*base, shape), down, up, SCALE)
            else:
                y = plain_conv(x, base, shape, down, up)
        y.float().sum().backward()
        grads = (x.grad, down.grad, up.grad)
        errors.append(max((a - b).abs().max() for a, b in zip(grads, exact, strict=True)))  # type: ignore[operator]
    assert errors[0] <= 1.5 * errors[1]


def test_backward_inside_autocast_works_on_float32_results() -> None:
    x, down, up, weight, bias = linear_parts(torch.float32)
    y = low_rank_linear(x, (weight, bias), down, up, SCALE)
    with torch.autocast("cpu", torch.bfloat16):
        y.sum().backward()
    expected = linear_parts(torch.float32)
    low_rank_linear(expected[0], (expected[3], expected[4]), *expected[1:3], SCALE).sum().backward()
    torch.testing.assert_close(down.grad, expected[1].grad)


def test_input_without_gradient_gets_none() -> None:
    x, down, up, weight, bias = linear_parts(torch.float32)
    y = low_rank_linear(x.detach(), (weight, bias), down, up, SCALE)
    y.sum().backward()
    assert x.grad is None
    assert down.grad is not None
    assert up.grad is not None


def test_frozen_factors_get_no_gradient_and_pass_the_inputs_on() -> None:
    x, down, up, weight, bias = linear_parts(torch.float32)
    low_rank_linear(x, (weight, bias), down.detach(), up.detach(), SCALE).sum().backward()
    x_, down_, up_, weight_, bias_ = linear_parts(torch.float32)
    plain_linear(x_, weight_, bias_, down_, up_).sum().backward()
    torch.testing.assert_close(x.grad, x_.grad)


def test_non_contiguous_input_and_gradient() -> None:
    x, down, up, weight, bias = linear_parts(torch.float32)
    swapped = x.transpose(0, 1)
    y = low_rank_linear(swapped, (weight, bias), down, up, SCALE).transpose(0, 2)
    y.square().sum().backward()
    x_, down_, up_, weight_, bias_ = linear_parts(torch.float32)
    plain_linear(x_.transpose(0, 1), weight_, bias_, down_, up_).transpose(
        0, 2
    ).square().sum().backward()
    torch.testing.assert_close(x.grad, x_.grad)
    torch.testing.assert_close(up.grad, up_.grad)


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    results = []
    for checkpointed in (True, False):
        x, down, up, weight, bias = linear_parts(torch.float32)
        cx, cdown, cup, cweight, cbias = conv_parts(3, torch.float32)
        shape = ConvShape((1, 1), (1, 1), (1, 1))

        def run(a: Tensor, b: Tensor, parts: tuple[Tensor, ...] = (down, up, cdown, cup)) -> Tensor:
            d, u, cd, cu = parts
            one = low_rank_linear(a, (weight, bias), d, u, SCALE)  # noqa: B023
            two = low_rank_conv(b, (cweight, cbias, shape), cd, cu, SCALE)  # noqa: B023
            return one.square().sum() + two.square().sum()

        loss = checkpoint(run, x, cx, use_reentrant=False) if checkpointed else run(x, cx)
        assert isinstance(loss, Tensor)
        loss.backward()
        results.append([t.grad for t in (x, down, up, cx, cdown, cup)])
    for mine, other in zip(*results, strict=True):
        assert torch.equal(mine, other)  # type: ignore[arg-type]


def test_only_input_and_narrow_product_are_kept() -> None:
    x, down, up, weight, bias = linear_parts(torch.float32)
    kept: list[torch.Size] = []
    shared = {x.data_ptr(), down.data_ptr(), up.data_ptr(), weight.data_ptr()}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in shared:
            kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        low_rank_linear(x, (weight, bias), down, up, SCALE)
    assert kept == [torch.Size((10, 3))]
