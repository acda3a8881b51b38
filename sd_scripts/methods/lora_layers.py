"""The LoRA layer: what is learnt beside one frozen Linear or Conv2d, and how it hooks on.

A layer adds `up(down(x)) · alpha / rank · multiplier` to the output of its base module. It takes
over the base's `forward` by an attribute of that one instance: modules keep their classes and
places, so state dict names stay as they were, attention processors that call `to_q` as a module
go through the layer, and detaching is deleting one attribute. The layer holds no part of the base
in its own module tree: its state dict is `alpha`, `lora_down.weight`, `lora_up.weight`.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sd_scripts.methods.low_rank import (
    ConvShape,
    compute_dtype,
    low_rank_conv,
    low_rank_linear,
)


@dataclass(frozen=True)
class LoraShape:
    """Rank, alpha and dropout of one layer; the product is scaled by `alpha / rank`."""

    rank: int
    alpha: float
    dropout: float = 0.0


class Factor(nn.Module):
    """One of the two low-rank factors: a lone `weight`, shaped like a Linear's or a Conv2d's."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)


class LoraLayer(nn.Module):
    """Low-rank update of one base module: ΔW = up @ down · alpha / rank · multiplier.

    Shapes: for a Linear down is [rank, in], up [out, rank]; for a Conv2d down is
    [rank, in, k, k] and walks like the base, up [out, rank, 1, 1]. `down` starts as
    kaiming_uniform(a=√5), drawn from a generator of its own (seed and name), `up` as zeros:
    an untrained layer changes nothing. Factors are float32 on the base's device.
    """

    alpha: Tensor

    def __init__(self, name: str, base: nn.Module, shape: LoraShape, seed: int) -> None:
        super().__init__()
        assert isinstance(base, nn.Linear | nn.Conv2d), f"{name} is neither Linear nor Conv2d"
        assert getattr(base, "groups", 1) == 1, f"{name} is a grouped convolution"
        self.name = name
        self.shape = shape
        self.multiplier = 1.0
        self._base = (base,)  # in a tuple: not part of this module's tree
        self._replaced: Callable[[Tensor], Tensor] | None = None
        self._attached = False
        down_shape, up_shape = factor_shapes(base, shape.rank)
        device = base.weight.device
        if device.type == "meta":
            down = torch.empty(down_shape, device=device)
        else:
            down = _kaiming_uniform(down_shape, seed, name).to(device)
        self.register_buffer("alpha", torch.tensor(float(shape.alpha)))
        self.lora_down = Factor(down)
        self.lora_up = Factor(torch.zeros(up_shape, device=device))

    @property
    def base(self) -> nn.Linear | nn.Conv2d:
        """The frozen module whose output this layer adds to."""
        return self._base[0]

    @property
    def scale(self) -> float:
        """`alpha / rank · multiplier`, the factor of the low-rank product."""
        return self.multiplier * self.shape.alpha / self.shape.rank

    @property
    def attached(self) -> bool:
        return self._attached

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
        """Return the base module's output for `x`, plus the scaled low-rank product."""
        base = self.base
        if self.multiplier == 0.0:
            return self._base_forward(x)
        down, up = self.lora_down.weight, self.lora_up.weight
        if (self.training and self.shape.dropout > 0.0) or not self._can_fuse(base):
            return torch.add(self._base_forward(x), self._low_rank(x), alpha=self.scale)
        if isinstance(base, nn.Linear):
            fixed = (base.weight, base.bias)
            return low_rank_linear(x, fixed, down, up, self.scale)
        walk = ConvShape(base.stride, base.padding, base.dilation)  # type: ignore[arg-type]
        return low_rank_conv(x, (base.weight, base.bias, walk), down, up, self.scale)

    def _can_fuse(self, base: nn.Linear | nn.Conv2d) -> bool:
        """True where the base's forward is PyTorch's own, on a plain frozen weight."""
        weight = base.weight
        if self._replaced is not None or weight.requires_grad:
            return False
        if not weight.is_floating_point() or weight.element_size() < 2:
            return False
        if isinstance(base, nn.Linear):
            return type(base).forward is nn.Linear.forward
        plain = base.padding_mode == "zeros" and isinstance(base.padding, tuple)
        return plain and type(base).forward is nn.Conv2d.forward

    def _base_forward(self, x: Tensor) -> Tensor:
        if self._replaced is not None:
            return self._replaced(x)
        forward: Callable[..., Tensor] = type(self.base).forward
        return forward(self.base, x)

    def _low_rank(self, x: Tensor) -> Tensor:
        """Return `up(dropout(down(x)))`, unscaled, in the dtype that products run in here."""
        dtype = compute_dtype(x)
        x, base = x.to(dtype), self.base
        down, up = self.lora_down.weight.to(dtype), self.lora_up.weight.to(dtype)
        if isinstance(base, nn.Linear):
            narrow = functional.linear(x, down)
        else:  # with the base's padding mode, which conv2d itself does not know
            narrow = base._conv_forward(x, down, None)
        if self.training and self.shape.dropout > 0.0:
            narrow = functional.dropout(narrow, self.shape.dropout)
        if isinstance(base, nn.Linear):
            return functional.linear(narrow, up)
        return functional.conv2d(narrow, up)

    def __deepcopy__(self, memo: dict[int, Any]) -> LoraLayer:
        """Copy the factors; the base only goes along where the copy starts from the base.

        A copied U-Net gets layers of its own on its own modules. A copy of the layers alone (an
        average of the weights, say) refers to the same base and is not attached to it.
        """
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        with_base = id(self.base) in memo
        for key, value in self.__dict__.items():
            shared = key in ("_base", "_replaced") and not with_base
            copied.__dict__[key] = value if shared else copy.deepcopy(value, memo)
        if not with_base:
            copied._replaced, copied._attached = None, False
        return copied


def factor_shapes(base: nn.Linear | nn.Conv2d, rank: int) -> tuple[list[int], list[int]]:
    """Return the shapes of `lora_down.weight` and `lora_up.weight` for `base`."""
    if isinstance(base, nn.Linear):
        return [rank, base.in_features], [base.out_features, rank]
    return [rank, base.in_channels, *base.kernel_size], [base.out_channels, rank, 1, 1]


def _kaiming_uniform(shape: list[int], seed: int, name: str) -> Tensor:
    """Draw kaiming_uniform(a=√5), i.e. ±1/√fan_in, from the stream of (seed, name).

    The stream is the layer's own: it depends neither on global random state nor on which other
    layers are made, or in what order.
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    bound = 1.0 / math.sqrt(math.prod(shape[1:]))
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)
