"""Frozen Linears and Conv2ds whose weight is stored in another form than a parameter.

Packed for the CPU, quantised, and so on: a stored form knows the two products that training needs
of a weight that never changes, W x and Wᵀ g, and gives the dense weight on demand. `store` turns a
module in place into a subclass of its own class: everything that asks for `module.weight` (norms,
merging, saving, hashes) still gets a dense one, while the fast paths use the stored form.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class ConvShape(NamedTuple):
    """How a Conv2d walks its input: stride, padding and dilation as (height, width)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @classmethod
    def of(cls, base: nn.Conv2d) -> Self:
        """Return how a Conv2d with numbers for its padding walks."""
        assert not isinstance(base.padding, str)
        return cls(*(_pair(given) for given in (base.stride, base.padding, base.dilation)))


def _pair(given: tuple[int, ...]) -> tuple[int, int]:
    return given[0], given[1]


class StoredWeight(Protocol):
    """The weight of one frozen Linear or Conv2d, in whatever form. It never changes.

    `x` and `grad` come in the dtype that products run in; results have that dtype, and memory of
    their own (the caller adds to them in place). Neither product is seen by autograd. For a Linear
    x is [rows, in], for a Conv2d [B, in, H, W] in any memory format.
    """

    @property
    def device(self) -> torch.device:
        """Where it is stored."""
        ...

    def dense(self) -> Tensor:
        """Return the weight as the module had it: shape, dtype, and values as far as known."""
        ...

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return W x + bias; `bias` [out] is in x's dtype."""
        ...

    def backward_product(self, grad: Tensor, x_shape: torch.Size) -> Tensor:
        """Return Wᵀ grad, the gradient of an input of shape `x_shape`."""
        ...

    def to_device(self, device: torch.device) -> StoredWeight:
        """Return it on a device; itself if it is there already."""
        ...


class PlainLinear(NamedTuple):
    """A Linear's weight [out, in] as it is."""

    weight: Tensor

    @property
    def device(self) -> torch.device:
        """Where the weight is."""
        return self.weight.device

    def dense(self) -> Tensor:
        """Return the weight itself."""
        return self.weight

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return x Wᵀ + bias, [rows, out]."""
        return functional.linear(x, self.weight.to(x.dtype), bias)

    def backward_product(self, grad: Tensor, x_shape: torch.Size) -> Tensor:
        """Return grad W, [rows, in]."""
        del x_shape
        return grad @ self.weight.to(grad.dtype)

    def to_device(self, device: torch.device) -> PlainLinear:
        """Return it on a device."""
        return PlainLinear(self.weight.to(device))


class PlainConv(NamedTuple):
    """A Conv2d's weight [out, in, k, k] as it is."""

    weight: Tensor
    shape: ConvShape

    @property
    def device(self) -> torch.device:
        """Where the weight is."""
        return self.weight.device

    def dense(self) -> Tensor:
        """Return the weight itself."""
        return self.weight

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution of `x`, [B, out, H', W']."""
        return functional.conv2d(x, self.weight.to(x.dtype), bias, *self.shape)

    def backward_product(self, grad: Tensor, x_shape: torch.Size) -> Tensor:
        """Return the gradient [B, in, H, W] of the convolution's input."""
        unread = grad.new_empty(()).expand(x_shape)
        found: Tensor = torch.ops.aten.convolution_backward(
            grad, unread, self.weight.to(grad.dtype), None, *self.shape, False, (0, 0), 1,
            (True, False, False),
        )[0]  # fmt: skip
        return found

    def to_device(self, device: torch.device) -> PlainConv:
        """Return it on a device."""
        return PlainConv(self.weight.to(device), self.shape)


class FrozenBase(nn.Module):
    """A Linear or Conv2d with a stored weight; `store` makes one.

    It has no parameter `weight`, but its state dict still has that entry, dense. Moving the module
    moves what is stored; other dtypes than its own it takes in products only, never by `to`.
    """

    stored: StoredWeight
    bias: Any

    def product(self, x: Tensor) -> Tensor:
        """Return W x, without the bias; gradients go to `x` alone."""
        if isinstance(self, nn.Linear):
            return frozen_linear(x, self.stored, None)
        return frozen_product(x, self.stored, None)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.stored.dense()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        moved = fn(torch.empty(0, device=self.stored.device))
        self.stored = self.stored.to_device(moved.device)
        applied: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return applied


class FrozenLinear(FrozenBase, nn.Linear):
    """A Linear with a stored weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x Wᵀ + b; x is [..., in]."""
        return frozen_linear(x, self.stored, self.bias)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The dense weight [out, in], made anew where it is stored otherwise."""
        return self.stored.dense()


class FrozenConv2d(FrozenBase, nn.Conv2d):
    """A Conv2d with a stored weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Return conv(x, W) + b; x is [B, in, H, W]."""
        return frozen_product(x, self.stored, self.bias)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The dense weight [out, in, k, k], made anew where it is stored otherwise."""
        return self.stored.dense()


def can_store(module: nn.Module) -> bool:
    """True for a frozen Linear or Conv2d whose forward is PyTorch's own, with one group.

    A layer that took over the module's forward does not matter: it comes back to the class.
    """
    if type(module) is nn.Linear:
        return not module.weight.requires_grad
    if type(module) is nn.Conv2d:
        plain = module.groups == 1 and module.padding_mode == "zeros"
        return plain and not isinstance(module.padding, str) and not module.weight.requires_grad
    return False


def store(module: nn.Linear | nn.Conv2d, stored: StoredWeight) -> None:
    """Turn a module in place into one with that stored weight, and let its parameter go.

    The module must be one that `can_store` allows, or one with a stored weight already.
    """
    if not isinstance(module, FrozenBase):
        assert can_store(module), f"{type(module).__name__} is not frozen and plain"
        del module._parameters["weight"]
        module.__class__ = FrozenLinear if isinstance(module, nn.Linear) else FrozenConv2d
    module.stored = stored  # type: ignore[assignment]  # no module, though its class may be


def stored_weight(module: nn.Module) -> StoredWeight | None:
    """Return a frozen module's weight as its products are made: stored, or plain as it is.

    None where the module has a forward of its own, learns, or is not a Linear or Conv2d.
    """
    if isinstance(module, FrozenBase):
        return module.stored
    if not can_store(module):
        return None
    if isinstance(module, nn.Linear):
        return PlainLinear(module.weight)
    assert isinstance(module, nn.Conv2d)
    return PlainConv(module.weight, ConvShape.of(module))


def compute_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which a matrix product on `x` runs here and now, autocast included."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Operands are of one dtype already: turn autocast off where it is on."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


class _FrozenProduct(torch.autograd.Function):
    """y = W x + b with a stored W and a frozen b; x is shaped as `StoredWeight` wants it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stored: StoredWeight, bias: Tensor | None) -> Tensor:
        dtype = compute_dtype(x)
        ctx.stored, ctx.x_shape, ctx.x_dtype = stored, x.shape, x.dtype
        with without_autocast(x):
            return stored.product(x.to(dtype), None if bias is None else bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(grad):
            grad_x = ctx.stored.backward_product(grad, ctx.x_shape)
        return grad_x.to(ctx.x_dtype), None, None


def frozen_product(x: Tensor, stored: StoredWeight, bias: Tensor | None) -> Tensor:
    """Return W x + bias in the dtype of products here and now; gradients go to `x` alone.

    `x` is [B, in, H, W] for a Conv2d's weight and [rows, in] for a Linear's.
    """
    y: Tensor = _FrozenProduct.apply(x, stored, bias)  # type: ignore[no-untyped-call]
    return y


def frozen_linear(x: Tensor, stored: StoredWeight, bias: Tensor | None) -> Tensor:
    """Return a Linear's product of `x` [..., in] as [..., out]; as `frozen_product`."""
    y = frozen_product(x.reshape(-1, x.shape[-1]), stored, bias)
    return y.view(*x.shape[:-1], y.shape[-1])
