"""Autograd functions that add a low-rank product to a frozen Linear or Conv2d in place.

The plain composition `base(x) + up(down(x)) * scale` writes two more tensors as large as the
layer's output in the forward pass, and one more as large as its input in the backward pass. With
a rank far below the layer's width that traffic costs more than the products themselves. Here the
low-rank product is accumulated straight into the base result (`addmm_`, `baddbmm_`), and only the
input and the small `down(x)` are kept for the backward pass. The base weight gets no gradient.

Both functions work under autocast: every operand is cast to the autocast dtype, while the factors
stay in their own dtype (usually float32) and receive gradients in it. Tensors are kept through
`save_for_backward` only, so gradient checkpointing and saved-tensor hooks see them all; the base
weight, which never changes, is not kept but referred to, in whatever form it is stored.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sd_scripts.methods.frozen import (
    ConvShape,
    PlainConv,
    PlainLinear,
    StoredWeight,
    compute_dtype,
    without_autocast,
)


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return `scale * a @ b` for matrices, without a second pass over the result."""
    if scale == 1.0:
        return a @ b
    return torch.addmm(a.new_zeros(()), a, b, beta=0, alpha=scale)


class LowRankLinear(torch.autograd.Function):
    """y = x Wᵀ + b + scale · (x Aᵀ) Bᵀ with frozen W [out, in] and b [out].

    x is [..., in], A (`down`) is [rank, in], B (`up`) is [out, rank], y is [..., out].
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, base: tuple[StoredWeight, Tensor | None], down: Tensor, up: Tensor,
        scale: float,
    ) -> Tensor:  # fmt: skip
        dtype = compute_dtype(x)
        rows = x.to(dtype).reshape(-1, x.shape[-1])
        stored, bias = base[0], None if base[1] is None else base[1].to(dtype)
        ctx.stored, ctx.scale, ctx.x_shape = stored, scale, x.shape
        ctx.dtypes = (x.dtype, down.dtype, up.dtype)
        down, up = down.to(dtype), up.to(dtype)
        y = stored.product(rows, bias)
        scaled = _product(rows, down.t(), scale)
        y.addmm_(scaled, up.t())
        ctx.save_for_backward(rows, scaled, down, up)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        rows, scaled, down, up = ctx.saved_tensors
        need_x, _, need_down, need_up, _ = ctx.needs_input_grad
        grad_x = grad_down = grad_up = None
        with without_autocast(grad_y):
            grad = grad_y.reshape(-1, grad_y.shape[-1])
            if need_x or need_down:
                grad_scaled = _product(grad, up, ctx.scale)
            if need_x:
                grad_x = ctx.stored.backward_product(grad, rows.shape).addmm_(grad_scaled, down)
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
        ctx: Any, x: Tensor, base: tuple[StoredWeight, Tensor | None, ConvShape], down: Tensor,
        up: Tensor, scale: float,
    ) -> Tensor:  # fmt: skip
        dtype = compute_dtype(x)
        stored, bias, shape = base
        x_, bias = x.to(dtype), None if bias is None else bias.to(dtype)
        ctx.stored, ctx.scale, ctx.shape = stored, scale, shape
        ctx.dtypes = (x.dtype, down.dtype, up.dtype)
        down, up = down.to(dtype), up.to(dtype)
        y = _dense(stored.product(x_, bias))
        narrow = _narrow_forward(x_, down, shape)
        _add_pointwise(y, narrow, _matrix(up), scale)
        ctx.save_for_backward(x_, narrow, down, up)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, narrow, down, up = ctx.saved_tensors
        need_x, _, need_down, need_up, _ = ctx.needs_input_grad
        grad_x = grad_down = grad_up = None
        with without_autocast(grad_y):
            grad = _dense(grad_y)
            if need_x or need_down:
                grad_narrow = _pointwise(grad, _matrix(up).t(), ctx.scale)
            if need_x:
                grad_x = _dense(ctx.stored.backward_product(grad, x.shape))
                _add_narrow_backward(grad_x, grad_narrow, down, ctx.shape)
                grad_x = grad_x.to(ctx.dtypes[0])
            if need_down:
                grad_down = _grad_down(grad_narrow, x, down, ctx.shape).to(ctx.dtypes[1])
            if need_up:
                grad_up = _summed_product(grad, narrow, ctx.scale)
                grad_up = grad_up.view(up.shape).to(ctx.dtypes[2])
        return grad_x, None, grad_down, grad_up, None


def _matrix(kernel: Tensor) -> Tensor:
    """Return a 1x1 kernel [out, in, 1, 1] as a matrix [out, in]."""
    return kernel.reshape(kernel.shape[0], kernel.shape[1])


def _is_pointwise(kernel: Tensor, shape: ConvShape) -> bool:
    return kernel.shape[2:] == (1, 1) and shape.stride == (1, 1) and shape.padding == (0, 0)


def _channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _dense(x: Tensor) -> Tensor:
    """Return `x` [B, C, H, W] without gaps: channels last as it is, or contiguous."""
    return x if _channels_last(x) else x.contiguous()


def _rows(x: Tensor) -> Tensor:
    """Return [B, C, H, W] as [B·H·W, C]: a view where channels are last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _pointwise(x: Tensor, matrix: Tensor, scale: float) -> Tensor:
    """Return `scale · matrix x` by pixel for x [B, n, H, W], dense, and a matrix [m, n]."""
    batch, _, height, width = x.shape
    if _channels_last(x):
        found = _product(_rows(x), matrix.t(), scale)
        return found.view(batch, height, width, -1).permute(0, 3, 1, 2)
    spread, columns = matrix.expand(batch, -1, -1), x.flatten(2)
    if scale == 1.0:
        found = torch.bmm(spread, columns)
    else:
        found = torch.baddbmm(x.new_zeros(()), spread, columns, beta=0, alpha=scale)
    return found.view(batch, -1, height, width)


def _add_pointwise(y: Tensor, x: Tensor, matrix: Tensor, scale: float) -> None:
    """Add `scale · matrix x` by pixel to `y` [B, m, H, W], which is dense; x is [B, n, H, W]."""
    if _channels_last(y):
        y.permute(0, 2, 3, 1).view(-1, y.shape[1]).addmm_(_rows(x), matrix.t(), alpha=scale)
    else:
        y.view(*y.shape[:2], -1).baddbmm_(matrix.expand(len(y), -1, -1), x.flatten(2), alpha=scale)


def _summed_product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return `scale · Σ a bᵀ` over pixels for a [B, n, H, W] and b [B, m, H, W] as [n, m]."""
    if _channels_last(a):
        return _product(_rows(a).t(), _rows(b), scale)
    a, b = a.flatten(2), b.flatten(2)
    if len(a) == 1:
        return _product(a[0], b[0].t(), scale)
    return torch.bmm(a, b.transpose(1, 2)).sum(0).mul_(scale)


def _narrow_forward(x: Tensor, down: Tensor, shape: ConvShape) -> Tensor:
    """Return conv(x, A), [B, rank, H', W']; a 1x1 kernel is a plain product."""
    if _is_pointwise(down, shape):
        return _pointwise(_dense(x), _matrix(down), 1.0)
    return functional.conv2d(x, down, None, *shape)


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
) -> None:
    """Add the input gradient of conv(x, A) to `grad_x`; `grad_narrow` is [B, rank, H', W']."""
    if _is_pointwise(down, shape):
        _add_pointwise(grad_x, grad_narrow, _matrix(down).t(), 1.0)
    else:
        grad_x.add_(_conv_backward(grad_narrow, grad_x, down, shape, (True, False))[0])


def _grad_down(grad_narrow: Tensor, x: Tensor, down: Tensor, shape: ConvShape) -> Tensor:
    """Return the gradient of A [rank, in, k, k] from that of conv(x, A) [B, rank, H', W']."""
    if _is_pointwise(down, shape):
        return _summed_product(grad_narrow, x, 1.0).view(down.shape)
    grad = grad_narrow
    if x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16):
        # oneDNN's half-precision kernel gradient for few channels takes 7 to 15 times as long
        # as the float32 one, casts included.
        grad, x, down = grad.float(), x.float(), down.float()
    return _conv_backward(grad, x, down, shape, (False, True))[1]


BaseWeight = Tensor | StoredWeight


def low_rank_linear(
    x: Tensor, base: tuple[BaseWeight, Tensor | None], down: Tensor, up: Tensor, scale: float
) -> Tensor:
    """Return `linear(x, *base) + scale · up(down(x))`; `base` is (weight, bias), both frozen."""
    weight, bias = base
    stored = PlainLinear(weight) if isinstance(weight, Tensor) else weight
    y: Tensor = LowRankLinear.apply(  # type: ignore[no-untyped-call]
        x, (stored, bias), down, up, scale
    )
    return y


def low_rank_conv(
    x: Tensor,
    base: tuple[BaseWeight, Tensor | None, ConvShape],
    down: Tensor,
    up: Tensor,
    scale: float,
) -> Tensor:
    """Return `conv2d(x, *base) + scale · up(down(x))`; `base` is (weight, bias, shape), frozen."""
    weight, bias, shape = base
    stored = PlainConv(weight, shape) if isinstance(weight, Tensor) else weight
    y: Tensor = LowRankConv.apply(  # type: ignore[no-untyped-call]
        x, (stored, bias, shape), down, up, scale
    )
    return y
