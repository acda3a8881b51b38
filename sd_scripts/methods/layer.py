"""What all network layers have in common: how they hook onto one frozen module of the base.

A layer takes over its base's `forward` by an attribute of that one instance: modules keep their
classes and places, so state dict names stay as they were, attention processors that call `to_q` as
a module go through the layer, and detaching is deleting one attribute. A layer holds no part of
the base in its own module tree.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from sd_scripts.methods.frozen import FrozenBase, compute_dtype


class NetworkLayer(nn.Module):
    """A layer that learns beside one frozen module, and adds to what that module gives.

    Its state dict is what a training state keeps; `file_tensors` is what a file has of it, by the
    part of the key behind the layer's name. `rank` and `alpha` are as metadata tells them, None
    where the kind of layer has none. With `module_dropout` the layer is left out of a step with
    that probability, in training only.
    """

    rank: int | None = None
    alpha_value: float | None = None
    wants_plain_base = False
    """Whether the layer reads the base's whole weight in every step: it best stays plain then."""

    def __init__(self, name: str, base: nn.Module, module_dropout: float = 0.0) -> None:
        super().__init__()
        self.name = name
        self.multiplier = 1.0
        self.module_dropout = module_dropout
        self._base = (base,)  # in a tuple: not part of this module's tree
        self._replaced: Callable[[Tensor], Tensor] | None = None
        self._attached = False

    @property
    def base(self) -> Any:
        """The frozen module whose output this layer adds to."""
        return self._base[0]

    @property
    def attached(self) -> bool:
        return self._attached

    @property
    def learns(self) -> bool:
        """Whether anything of this layer gets gradients."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def attach(self) -> None:
        """Take over the base module's forward; an older takeover is kept beneath this one."""
        assert not self._attached, f"{self.name} is attached twice"
        self._replaced = self.base.__dict__.get("forward")
        self.base.__dict__["forward"] = self.forward
        self._attached = True

    def detach(self) -> None:
        """Give the base module back exactly the forward it had."""
        assert self.base.__dict__.get("forward") == self.forward, f"{self.name} is not outermost"
        if self._replaced is None:
            del self.base.__dict__["forward"]
        else:
            self.base.__dict__["forward"] = self._replaced
        self._replaced, self._attached = None, False

    def forward(self, x: Tensor) -> Tensor:
        """Return the base module's output for `x`, changed by what was learned."""
        if self.multiplier == 0.0 or self._left_out():
            return self.base_forward(x)
        return self.changed_forward(x)

    def changed_forward(self, x: Tensor) -> Tensor:
        """Return the output with this layer's change; the kind of layer says how."""
        raise NotImplementedError

    def file_tensors(self) -> dict[str, Tensor]:
        """Return what a file has of this layer, in the file's order."""
        raise NotImplementedError

    def misfit(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Say how a file's tensors are not those of this layer; None if they fit."""
        own = self.file_tensors()
        if missing := [key for key in own if key not in tensors and key != "alpha"]:
            return f"has no {missing[0]}"
        if extra := [key for key in tensors if key not in own]:
            return f"also has {extra[0]}"
        for key, tensor in own.items():
            if key != "alpha" and tensors[key].shape != tensor.shape:
                theirs, ours = (list(found.shape) for found in (tensors[key], tensor))
                return f"has {key} of shape {theirs}, not {ours}"
        return None

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a file's tensors, which fit (`misfit`)."""
        raise NotImplementedError

    def learn(self, on: bool) -> None:
        """Let the layer learn, or freeze it."""
        self.requires_grad_(on)

    def upper_parameters(self) -> list[nn.Parameter]:
        """Return what LoRA+ gives a higher rate."""
        return []

    def scale_norm(self, largest: float) -> float:
        """Scale the change of the weights so that its norm is at most `largest`.

        Returns the norm it had.
        """
        raise NotImplementedError

    def base_forward(self, x: Tensor) -> Tensor:
        """Return what the base (with layers beneath this one) gives for `x`."""
        if self._replaced is not None:
            return self._replaced(x)
        forward: Callable[..., Tensor] = type(self.base).forward
        return forward(self.base, x)

    def product(self, x: Tensor) -> Tensor:
        """Return the base's product W x, without its bias."""
        base = self.base
        if self._replaced is None and is_plain(base):
            return plain_product(base, x, base.weight)
        if self._replaced is None and isinstance(base, FrozenBase):
            return base.product(x)
        y = self.base_forward(x)
        return y if base.bias is None else y - along_channels(base.bias.to(y.dtype), base)

    def with_bias(self, y: Tensor) -> Tensor:
        """Add the base's bias to a product that has none."""
        bias = self.base.bias
        return y if bias is None else y + along_channels(bias.to(y.dtype), self.base)

    def with_factor(
        self, x: Tensor, factor: Tensor, product: Callable[[Tensor], Tensor], *, columns: bool
    ) -> Tensor:
        """Return DoRA's product without bias, interpolated by the multiplier.

        `factor` is by row ([out, 1(, 1, 1)]) of the weight, or by column ([1, in(, 1, 1)]);
        `product` gives (W + ΔW) x.
        """
        along = along_channels(factor.flatten(), self.base)
        if columns:
            y = product(x * along.to(x.dtype))
        else:
            y = product(x)
            y = y * along.to(y.dtype)
        if self.multiplier == 1.0:
            return y
        plain = self.product(x)
        return plain + self.multiplier * (y - plain)

    def _left_out(self) -> bool:
        dropped = self.training and self.module_dropout > 0.0
        return dropped and float(torch.rand(())) < self.module_dropout

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy what is learned; the base only goes along where the copy starts from the base.

        A copied U-Net gets layers of its own on its own modules. A copy of the layers alone (an
        average of the weights, say) refers to the same base and is not attached to it.
        """
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        with_base = id(self.base) in memo
        if not with_base:
            memo[id(self.base)] = self.base
        for key, value in self.__dict__.items():
            shared = key in ("_base", "_replaced") and not with_base
            copied.__dict__[key] = value if shared else copy.deepcopy(value, memo)
        if not with_base:
            copied._replaced, copied._attached = None, False
        return copied


def is_plain(base: nn.Module) -> bool:
    """True where the base's forward is PyTorch's own on a plain floating point weight."""
    kinds = (nn.Linear.forward, nn.Conv2d.forward)
    if isinstance(base, FrozenBase):
        return False
    weight = base.weight
    assert isinstance(weight, Tensor)
    floating = weight.is_floating_point() and weight.element_size() >= 2
    return floating and type(base).forward in kinds


def along_channels(vector: Tensor, base: nn.Module) -> Tensor:
    """Return a vector of output channels so that it broadcasts over the base's output."""
    return vector.view(-1, 1, 1) if isinstance(base, nn.Conv2d) else vector


def channel_mask(y: Tensor, base: nn.Module, kept: Tensor) -> Tensor:
    """Return `y` with the output channels where `kept` [channels] is 0 left out."""
    if isinstance(base, nn.GroupNorm):
        return y * kept.to(y.dtype).view(-1, *[1] * (y.ndim - 2))
    return y * along_channels(kept.to(y.dtype), base)


def add_scaled(y: Tensor, change: Tensor, strength: float) -> Tensor:
    """Return y + strength · change, of one shape."""
    if torch.compiler.is_compiling():
        # Inductor of PyTorch 2.13 passes over `alpha` where it joins the sum with a small product.
        return y + change * strength
    return torch.add(y, change, alpha=strength)


def plain_product(base: Any, x: Tensor, weight: Tensor) -> Tensor:
    """Return the product of `x` with a weight shaped like the base's, walked as the base walks.

    Runs in the dtype of products here and now (autocast's, or that of `x`).
    """
    dtype = compute_dtype(x)
    x, weight = x.to(dtype), weight.to(dtype)
    if isinstance(base, nn.Conv2d):
        spread: Tensor = base._conv_forward(x, weight, None)  # knows the base's padding mode
        return spread
    return functional.linear(x, weight)


@contextmanager
def random_stream(seed: int, name: str) -> Iterator[None]:
    """Within it, PyTorch's global random numbers (CPU) are those of (seed, name) alone.

    What is drawn depends neither on global random state, which is put back, nor on which other
    layers are made, or in what order.
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    before = torch.get_rng_state()
    try:
        # Not `torch.manual_seed`, which notes down a whole traceback for graphics cards each time.
        torch.default_generator.manual_seed(int.from_bytes(digest, "little") >> 1)
        yield
    finally:
        torch.set_rng_state(before)
