"""Autograd functions that add a low-rank product to a frozen Linear or Conv2d in place.

The plain composition `base(x) + up(down(x)) * scale` writes two more tensors as large as the
layer's output in the forward pass, and one more as large as its input in the backward pass. With
a rank far below the layer's width that traffic costs more than the products themselves. Here the
low-rank product is accumulated straight into the base result (`addmm_`, `baddbmm_`), and only the
input and the small `down(x)` are kept for the backward pass. The base weight gets no gradient.

Both functions work under autocast: every operand is cast to the autocast dtype, while the factors
stay in their own dtype (usually float32) and receive gradients in it. Tensors are kept through
`save_for_backward` only, so gradient checkpointing and saved-tensor hooks see them all.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class ConvShape(NamedTuple):
    """How a Conv2d walks its input: stride, padding and dilation as (height, width)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def compute_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which a matrix product on `x` runs here and now, autocast included."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def _without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Operands are already of one dtype in a backward pass: turn autocast off where it is on."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return `scale * a @ b` for matrices, without a second pass over the result."""
    if scale == 1.0:
        return a @ b
    return torch.addmm(a.new_zeros(()), a, b, beta=0, alpha=scale)


def _batched_product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return `scale * a @ b` for batches of matrices, without a second pass over the result."""
    if scale == 1.0:
        return torch.bmm(a, b)
    return torch.baddbmm(a.new_zeros(()), a, b, beta=0, alpha=scale)


class LowRankLinear(torch.autograd.Function):
    """y = x Wᵀ + b + scale · (x Aᵀ) Bᵀ with frozen W [out, in] and b [out].

    x is [..., in], A (`down`) is [rank, in], B (`up`) is [out, rank], y is [..., out].
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, base: tuple[Tensor, Tensor | None], down: Tensor, up: Tensor,
        scale: float,
    ) -> Tensor:  # fmt: skip
        dtype = compute_dtype(x)
        rows = x.to(dtype).reshape(-1, x.shape[-1])
        weight, bias = base[0].to(dtype), None if base[1] is None else base[1].to(dtype)
        ctx.scale, ctx.x_shape = scale, x.shape
        ctx.dtypes = (x.dtype, down.dtype, up.dtype)
        down, up = down.to(dtype), up.to(dtype)
        y = functional.linear(rows, weight, bias)
        scaled = _product(rows, down.t(), scale)
        y.addmm_(scaled, up.t())
        ctx.save_for_backward(rows, scaled, weight, down, up)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        rows, scaled, weight, down, up = ctx.saved_tensors
        need_x, _, need_down, need_up, _ = ctx.needs_input_grad
        grad_x = grad_down = grad_up = None
        with _without_autocast(grad_y):
            grad = grad_y.reshape(-1, grad_y.shape[-1])
            if need_x or need_down:
                grad_scaled = _product(grad, up, ctx.scale)
            if need_x:
                grad_x = (grad @ weight).addmm_(grad_scaled, down)
                grad_x = grad_x.view(ctx.x_shape).to(ctx.dtypes[0])
            if need_down:
                grad_down = (grad_scaled.t() @ rows).to(ctx.dtypes[1])
            if need_up:
                grad_up = (grad.t() @ scaled).to(ctx.dtypes[2])
        return grad_x, None, grad_down, grad_up, None


class LowRankConv(torch.autograd.Function):
    """y = conv(x, W) + b + scale · up(conv(x, A)) with frozen W [out, in, k, k] and b [out].

    x is [B, in, H, W], A (`down`) is [rank, in, k, k] and walks like the base convolution,
    B (`up`) is [out, rank, 1, 1], y is [B, out, H', W'].
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, base: tuple[Tensor, Tensor | None, ConvShape], down: Tensor,
        up: Tensor, scale: float,
    ) -> Tensor:  # fmt: skip
        dtype = compute_dtype(x)
        shape = base[2]
        x_, weight = x.to(dtype), base[0].to(dtype)
        bias = None if base[1] is None else base[1].to(dtype)
        ctx.scale, ctx.shape = scale, shape
        ctx.dtypes = (x.dtype, down.dtype, up.dtype)
        down, up = down.to(dtype), up.to(dtype)
        y = functional.conv2d(x_, weight, bias, *shape).contiguous()
        narrow = _narrow_forward(x_, down, shape)
        columns = y.view(y.shape[0], y.shape[1], -1)
        columns.baddbmm_(_matrix(up).expand(len(y), -1, -1), narrow, alpha=scale)
        ctx.save_for_backward(x_, narrow, weight, down, up)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, narrow, weight, down, up = ctx.saved_tensors
        need_x, _, need_down, need_up, _ = ctx.needs_input_grad
        grad_x = grad_down = grad_up = None
        with _without_autocast(grad_y):
            grad = grad_y.contiguous()
            columns = grad.view(grad.shape[0], grad.shape[1], -1)
            if need_x or need_down:
                spread = _matrix(up).t().expand(len(grad), -1, -1)
                grad_narrow = _batched_product(spread, columns, ctx.scale)
            if need_x:
                grad_x = _conv_backward(grad, x, weight, ctx.shape, (True, False))[0]
                grad_x = _add_narrow_backward(grad_x, grad_narrow, down, ctx.shape)
                grad_x = grad_x.to(ctx.dtypes[0])
            if need_down:
                grad_down = _grad_down(grad_narrow, x, down, ctx.shape).to(ctx.dtypes[1])
            if need_up:
                grad_up = _summed_product(columns, narrow, ctx.scale)
                grad_up = grad_up.view(up.shape).to(ctx.dtypes[2])
        return grad_x, None, grad_down, grad_up, None


def _matrix(kernel: Tensor) -> Tensor:
    """Return a 1x1 kernel [out, in, 1, 1] as a matrix [out, in]."""
    return kernel.reshape(kernel.shape[0], kernel.shape[1])


def _is_pointwise(kernel: Tensor, shape: ConvShape) -> bool:
    return kernel.shape[2:] == (1, 1) and shape.stride == (1, 1) and shape.padding == (0, 0)


def _summed_product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return `scale * Σ_batch a @ bᵀ` for a [B, n, L] and b [B, m, L] as [n, m]."""
    if len(a) == 1:
        return _product(a[0], b[0].t(), scale)
    return torch.bmm(a, b.transpose(1, 2)).sum(0).mul_(scale)


def _narrow_forward(x: Tensor, down: Tensor, shape: ConvShape) -> Tensor:
    """Return conv(x, A) as columns [B, rank, H'·W']; a 1x1 kernel is a plain product."""
    if _is_pointwise(down, shape) and x.is_contiguous():
        return torch.bmm(_matrix(down).expand(len(x), -1, -1), x.view(*x.shape[:2], -1))
    return functional.conv2d(x, down, None, *shape).flatten(2)


def _conv_backward(
    grad: Tensor, x: Tensor, kernel: Tensor, shape: ConvShape, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Return the gradients of a convolution for its input and its kernel, as far as wanted."""
    grad_x, grad_kernel, _ = torch.ops.aten.convolution_backward(
        grad, x, kernel, None, *shape, False, (0, 0), 1, (*wanted, False)
    )
    return grad_x, grad_kernel


def _add_narrow_backward(
    grad_x: Tensor, grad_narrow: Tensor, down: Tensor, shape: ConvShape
) -> Tensor:
    """Add the input gradient of conv(x, A) to `grad_x`; `grad_narrow` is [B, rank, H'·W']."""
    if _is_pointwise(down, shape) and grad_x.is_contiguous():
        spread = _matrix(down).t().expand(len(grad_x), -1, -1)
        grad_x.view(*grad_x.shape[:2], -1).baddbmm_(spread, grad_narrow)
        return grad_x
    grad = _unflatten(grad_narrow, grad_x, down, shape)
    return grad_x.add_(_conv_backward(grad, grad_x, down, shape, (True, False))[0])


def _grad_down(grad_narrow: Tensor, x: Tensor, down: Tensor, shape: ConvShape) -> Tensor:
    """Return the gradient of A [rank, in, k, k] from that of conv(x, A) [B, rank, H'·W']."""
    if _is_pointwise(down, shape) and x.is_contiguous():
        return _summed_product(grad_narrow, x.view(*x.shape[:2], -1), 1.0).view(down.shape)
    grad = _unflatten(grad_narrow, x, down, shape)
    if x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16):
        # oneDNN's half-precision kernel gradient for few channels takes 7 to 15 times as long
        # as the float32 one, casts included.
        grad, x, down = grad.float(), x.float(), down.float()
    return _conv_backward(grad, x, down, shape, (False, True))[1]


def _unflatten(columns: Tensor, x: Tensor, kernel: Tensor, shape: ConvShape) -> Tensor:
    """Return [B, rank, H'·W'] as [B, rank, H', W'] for a convolution of `x` with `kernel`."""
    height, width = (
        (x.shape[2 + i] + 2 * shape.padding[i] - shape.dilation[i] * (kernel.shape[2 + i] - 1) - 1)
        // shape.stride[i]
        + 1
        for i in (0, 1)
    )
    return columns.view(len(columns), -1, height, width)


def low_rank_linear(
    x: Tensor, base: tuple[Tensor, Tensor | None], down: Tensor, up: Tensor, scale: float
) -> Tensor:
    """Return `linear(x, *base) + scale · up(down(x))`; `base` is (weight, bias), both frozen."""
    y: Tensor = LowRankLinear.apply(x, base, down, up, scale)  # type: ignore[no-untyped-call]
    return y


def low_rank_conv(
    x: Tensor, base: tuple[Tensor, Tensor | None, ConvShape], down: Tensor, up: Tensor, scale: float
) -> Tensor:
    """Return `conv2d(x, *base) + scale · up(down(x))`; `base` is (weight, bias, shape), frozen."""
    y: Tensor = LowRankConv.apply(x, base, down, up, scale)  # type: ignore[no-untyped-call]
    return y
