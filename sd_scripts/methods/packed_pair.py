"""Frozen weights by oneDNN: in an order of its own for each product, or read as they are.

oneDNN's fastest kernels read weights in blocks, in another order for each of the two products, and
bring a plain weight into that order at every call. Here both are made once and the plain weight is
let go. PyTorch's own products of plain float32 matrices come from another library, which on some
processors takes twice as long. There oneDNN is faster for a Linear already where it reads the plain
weight (`DirectLinear`), which takes no memory.

Convolutions give pictures with channels last, in which these kernels work.
"""

from __future__ import annotations

from typing import Any, Final, Self

import torch
from torch import Tensor

from sd_scripts.methods.frozen import ConvShape, PlainConv, PlainLinear
from sd_scripts.runs.machine import let_file_pages_go

_ROWS: Final = 64
"""How many rows a Linear's order is made for. It is the same for all above very few; one number
for all keeps results from depending on the size of the first picture."""
_SIDE: Final = 64
"""For pictures of this height and width a convolution's order is made: a resumed run, which may
begin with another bucket, then has the same order and so the same last bits."""


class _Pair:
    """What both kinds have in common: the two orders are made at once, and the weight is not kept.

    At once is before a step takes memory: between activations that come and go, orders that stay
    would leave holes. Pages of the weight that a model file backs are let go.
    """

    def __init__(self, weight: Tensor, forward: Tensor, backward: Tensor) -> None:
        let_file_pages_go(weight.data_ptr(), weight.nbytes)
        self._dtype, self._forward, self._backward = weight.dtype, forward, backward

    @property
    def device(self) -> torch.device:
        """Always the CPU."""
        return torch.device("cpu")

    def dense(self) -> Tensor:
        """Return a copy of the weight as it was."""
        return self._forward.to_dense()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """It never changes, and oneDNN's tensors know no copies: all copies share it."""
        return self


class PackedConvPair(_Pair):
    """A Conv2d's weight [out, in, k, k] in both orders; its stride is 1."""

    def __init__(self, weight: Tensor, shape: ConvShape) -> None:
        assert shape.stride == (1, 1)
        self.shape, kernel, plain = shape, weight.shape[2:], weight.detach()
        self._back_padding = [
            shape.dilation[n] * (kernel[n] - 1) - shape.padding[n] for n in (0, 1)
        ]
        turned = plain.flip(2, 3).transpose(0, 1).contiguous()
        super().__init__(
            plain,
            self._ordered(plain, list(shape.padding)),
            self._ordered(turned, self._back_padding),
        )

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution of `x`, [B, out, H', W'], channels last."""
        if x.dtype != self._dtype:
            return PlainConv(self.dense(), self.shape).product(x, bias)
        return self._convolution(x, self._forward, bias, list(self.shape.padding))

    def backward_product(self, grad: Tensor, x_shape: torch.Size) -> Tensor:
        """Return the gradient [B, in, H, W]: a convolution with the kernels turned around."""
        if grad.dtype != self._dtype:
            return PlainConv(self.dense(), self.shape).backward_product(grad, x_shape)
        return self._convolution(grad, self._backward, None, self._back_padding)

    def to_device(self, device: torch.device) -> PackedConvPair | PlainConv:
        """Return it on a device; elsewhere than on a CPU it is plain."""
        return self if device == self.device else PlainConv(self.dense().to(device), self.shape)

    def _ordered(self, weight: Tensor, padding: list[int]) -> Tensor:
        pictures = [1, weight.shape[1], _SIDE, _SIDE]
        found: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
            weight, padding, [1, 1], list(self.shape.dilation), 1, pictures
        )
        return found

    def _convolution(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int]
    ) -> Tensor:
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x.contiguous(memory_format=torch.channels_last), weight, bias,
            padding, [1, 1], list(self.shape.dilation), 1, "none", [], "",
        )  # fmt: skip
        return found


class PackedLinearPair(_Pair):
    """A Linear's weight [out, in] in both orders."""

    def __init__(self, weight: Tensor) -> None:
        plain = weight.detach()
        super().__init__(plain, _ordered_matrix(plain), _ordered_matrix(plain.t()))

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return x Wᵀ + bias, [rows, out]."""
        if x.dtype != self._dtype:
            return PlainLinear(self.dense()).product(x, bias)
        return _linear(x, self._forward, bias)

    def backward_product(self, grad: Tensor, x_shape: torch.Size) -> Tensor:
        """Return grad W, [rows, in]."""
        if grad.dtype != self._dtype:
            return PlainLinear(self.dense()).backward_product(grad, x_shape)
        return _linear(grad, self._backward, None)

    def to_device(self, device: torch.device) -> PackedLinearPair | PlainLinear:
        """Return it on a device; elsewhere than on a CPU it is plain."""
        return self if device == self.device else PlainLinear(self.dense().to(device))


class DirectLinear:
    """A Linear's weight [out, in] as it is, for oneDNN's products."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight.detach()

    @property
    def device(self) -> torch.device:
        """Always the CPU."""
        return torch.device("cpu")

    def dense(self) -> Tensor:
        """Return the weight itself."""
        return self._weight

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return x Wᵀ + bias, [rows, out]."""
        if x.dtype != self._weight.dtype:
            return PlainLinear(self._weight).product(x, bias)
        return _linear(x, self._weight, bias)

    def backward_product(self, grad: Tensor, x_shape: torch.Size) -> Tensor:
        """Return grad W, [rows, in]."""
        if grad.dtype != self._weight.dtype:
            return PlainLinear(self._weight).backward_product(grad, x_shape)
        return _linear(grad, self._weight.t(), None)

    def to_device(self, device: torch.device) -> DirectLinear | PlainLinear:
        """Return it on a device; elsewhere than on a CPU it is plain."""
        return self if device == self.device else PlainLinear(self._weight.to(device))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """It never changes: all copies share it."""
        return self


def _ordered_matrix(matrix: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._reorder_linear_weight(matrix.contiguous(), _ROWS)
    return found


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")
    return found


def can_pair(dtype: torch.dtype) -> bool:
    """Whether this build of PyTorch has the products, and they are right for that dtype.

    They are PyTorch's own, but not promised: other builds and processors lack them, or some.
    """
    if dtype not in (torch.float32, torch.bfloat16) or not torch._C._has_mkldnn:
        return False
    generator = torch.Generator().manual_seed(0)
    weight, x, grad = (
        torch.randn(size, generator=generator).to(dtype)
        for size in ((16, 32, 3, 3), (1, 32, 4, 4), (1, 16, 4, 4))
    )
    shape = ConvShape((1, 1), (1, 1), (1, 1))
    matrix = weight[:, :, 0, 0].contiguous()
    rows, grad_rows = x.flatten(2)[0].t(), grad.flatten(2)[0].t()
    try:
        conv = PackedConvPair(weight, shape), PlainConv(weight, shape)
        linear = PackedLinearPair(matrix), PlainLinear(matrix)
        direct = DirectLinear(matrix), PlainLinear(matrix)
        return all(
            _close(pair.product(x, None), plain.product(x, None))
            and _close(pair.backward_product(grad, x.shape), plain.backward_product(grad, x.shape))
            and torch.equal(pair.dense(), plain.dense())
            for pair, plain, x, grad in (
                (*conv, x, grad),
                (*linear, rows, grad_rows),
                (*direct, rows, grad_rows),
            )
        )
    except (AttributeError, NotImplementedError, RuntimeError):
        return False  # a build without them


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.float(), b.float(), rtol=0.02, atol=0.1)
