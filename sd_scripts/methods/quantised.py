"""Frozen weights in 8 or 4 bits: stored small, made dense anew for every product, and let go.

Three number formats, each with scales beside its codes: "fp8" (float8_e4m3fn) and "int8" have a
scale for each output channel, "nf4" one for each 64 numbers. The dense weight of one layer lives as
long as one product: autograd keeps none of them, in the forward pass or for the backward pass.
Everything is plain PyTorch, so it works on every device that has the codes' dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sd_scripts.methods.frozen import ConvShape, PlainConv, PlainLinear
from sd_scripts.options.groups.training import BaseFormat

NF4_BLOCK: Final = 64
"""How many numbers share a scale in nf4, as in QLoRA."""
_FP8: Final = torch.float8_e4m3fn
_FP8_LARGEST: Final = torch.finfo(_FP8).max
_INT8_LARGEST: Final = 127
_SMALLEST: Final = torch.finfo(torch.float32).tiny
# The 16 levels of NormalFloat: quantiles of the normal distribution, with an exact zero.
# Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", appendix E.
NF4_LEVELS: Final = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip

Packed = tuple[Tensor, Tensor]
"""Codes and scales of a weight."""


@dataclass(frozen=True)
class NumberFormat:
    """How weights are stored: `pack` makes codes and scales, `unpack` a weight of a shape again.

    `unpack` rounds once, to the dtype it is asked for. `num_bytes` tells what a weight takes.
    """

    pack: Callable[[Tensor], Packed]
    unpack: Callable[[Packed, torch.Size, torch.dtype], Tensor]
    num_bytes: Callable[[torch.Size], int]


def _by_channel(weight: Tensor) -> Tensor:
    """Return the largest number of each output channel, [out, 1(, 1, 1)] in float32."""
    dims = list(range(1, weight.ndim))
    return weight.abs().amax(dims, keepdim=True).float().clamp_min(_SMALLEST)


def _bytes_by_channel(shape: torch.Size) -> int:
    return shape.numel() + 4 * shape[0]


def _scaled(codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Return codes times scales, laid out as the codes: worked out in float32, rounded once."""
    return torch.mul(codes, scales, out=torch.empty_like(codes, dtype=dtype))


def _pack_int8(weight: Tensor) -> Packed:
    scales = _by_channel(weight) / _INT8_LARGEST
    codes = (weight.float() / scales).round_().clamp_(-_INT8_LARGEST, _INT8_LARGEST)
    return codes.to(torch.int8), scales


def _unpack_int8(packed: Packed, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    return _scaled(*packed, dtype).view(shape)


def _pack_fp8(weight: Tensor) -> Packed:
    """Scales are powers of two: only the codes are rounded, and the range is used to its end."""
    shares = _by_channel(weight) / _FP8_LARGEST
    scales = torch.ldexp(torch.ones_like(shares), torch.frexp(shares).exponent)
    # Kept as bytes, so that a module's change to another number format leaves them alone.
    return (weight.float() / scales).to(_FP8).view(torch.uint8), scales


def _unpack_fp8(packed: Packed, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    codes, scales = packed
    wide = dtype if dtype in (torch.float32, torch.bfloat16) else torch.float32
    return codes.view(_FP8).to(wide).mul_(scales).to(dtype).view(shape)


def _pack_nf4(weight: Tensor) -> Packed:
    flat = weight.float().flatten()
    blocks = functional.pad(flat, (0, -len(flat) % NF4_BLOCK)).view(-1, NF4_BLOCK)
    scales = blocks.abs().amax(1, keepdim=True).half()
    levels = torch.tensor(NF4_LEVELS, device=weight.device)
    shares = blocks / scales.float().clamp_min(torch.finfo(torch.float16).tiny)
    nearest = torch.bucketize(shares, (levels[1:] + levels[:-1]) / 2, out_int32=True)
    pairs = nearest.to(torch.uint8).view(-1, 2)
    return pairs[:, 0] << 4 | pairs[:, 1], scales


def _unpack_nf4(packed: Packed, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    codes, scales = packed
    levels = torch.tensor(NF4_LEVELS, device=codes.device)
    # Both numbers of a byte at once: [256, 2].
    pairs = torch.cartesian_prod(levels, levels)
    found = functional.embedding(codes.int(), pairs).view(-1, NF4_BLOCK).mul_(scales)
    return found.flatten()[: shape.numel()].view(shape).to(dtype)


def _bytes_nf4(shape: torch.Size) -> int:
    blocks = math.ceil(shape.numel() / NF4_BLOCK)
    return blocks * (NF4_BLOCK // 2 + 2)


FORMATS: Final[Mapping[BaseFormat, NumberFormat]] = {
    "fp8": NumberFormat(_pack_fp8, _unpack_fp8, _bytes_by_channel),
    "int8": NumberFormat(_pack_int8, _unpack_int8, _bytes_by_channel),
    "nf4": NumberFormat(_pack_nf4, _unpack_nf4, _bytes_nf4),
}


@dataclass(frozen=True)
class QuantisedWeight:
    """A frozen weight [out, in] or [out, in, k, k] as codes and scales (a `StoredWeight`).

    `dtype` is what the weight had, `walk` None for a Linear. With `channels_last` the weight of a
    convolution is laid out so, and what it gives.
    """

    number_format: NumberFormat
    packed: Packed
    shape: torch.Size
    dtype: torch.dtype
    walk: ConvShape | None
    channels_last: bool = False

    @classmethod
    def of(cls, module: nn.Linear | nn.Conv2d, kind: BaseFormat) -> QuantisedWeight:
        """Return the weight of a module in another format; the module stays as it is."""
        number_format, weight = FORMATS[kind], module.weight.detach()
        walk = ConvShape.of(module) if isinstance(module, nn.Conv2d) else None
        packed = number_format.pack(weight)
        return cls(number_format, packed, weight.shape, weight.dtype, walk)

    @property
    def device(self) -> torch.device:
        """Where the codes are."""
        return self.packed[0].device

    @property
    def num_bytes(self) -> int:
        """What codes and scales take."""
        return sum(part.numel() * part.element_size() for part in self.packed)

    def dense(self) -> Tensor:
        """Return the weight in the dtype it had, as far as it is known."""
        return self.number_format.unpack(self.packed, self.shape, self.dtype)

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return W x + bias; the dense weight is gone afterwards."""
        return self._plain(x.dtype).product(x, bias)

    def backward_product(self, grad: Tensor, x_shape: torch.Size) -> Tensor:
        """Return Wᵀ grad, with a dense weight made anew."""
        return self._plain(grad.dtype).backward_product(grad, x_shape)

    def to_device(self, device: torch.device) -> QuantisedWeight:
        """Return it on a device; itself if it is there already."""
        if device == self.device:
            return self
        codes, scales = self.packed
        return replace(self, packed=(codes.to(device), scales.to(device)))

    def with_channels_last(self) -> QuantisedWeight:
        """Return it with a convolution's channels last; itself for a Linear."""
        if self.walk is None:
            return self
        codes, scales = self.packed
        if codes.ndim == len(self.shape):  # then its weight is laid out as the codes are
            codes = codes.contiguous(memory_format=torch.channels_last)
        return replace(self, packed=(codes, scales), channels_last=True)

    def _plain(self, dtype: torch.dtype) -> PlainLinear | PlainConv:
        weight = self.number_format.unpack(self.packed, self.shape, dtype)
        if self.walk is None:
            return PlainLinear(weight)
        if self.channels_last:
            weight = weight.contiguous(memory_format=torch.channels_last)
        return PlainConv(weight, self.walk)
