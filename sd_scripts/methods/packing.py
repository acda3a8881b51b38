"""Which frozen weights of a base are packed for the CPU, and whether that pays on this machine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from sd_scripts.methods.frozen import ConvShape, PlainConv, StoredWeight, can_store, store
from sd_scripts.methods.layer import NetworkLayer
from sd_scripts.methods.packed_conv import PackedConv

Wanted = Literal["auto", "on", "off"]

_OUTPUTS_PER_PIXEL: Final = 4
"""A 3x3 convolution is packed for batches of at most one pixel to so many output channels. Beyond
that the product takes so much longer than reordering the weight that nothing is won."""

_SMALL: Final = 2**20
"""A model whose largest convolution has fewer numbers is so small that it does not matter."""

_SIDES: Final = (8, 4)
_ROUNDS: Final = 4
_WORTH: Final = 0.95
"""How much of the plain products' time the packed ones may take at most."""


class Gain(NamedTuple):
    """Seconds that a layer's two products take, its weight plain and packed."""

    plain: float
    packed: float

    @property
    def pays(self) -> bool:
        """Whether packing is clearly faster."""
        return self.packed <= _WORTH * self.plain


def pack_base(parts: Sequence[nn.Module], wanted: Wanted) -> str:
    """Pack the frozen convolutions of `parts` where that pays; says in a line what was done.

    With "auto" the largest one is measured, in well under a second; "on" packs without measuring.
    Layers must be attached already. Elsewhere than on a CPU nothing is packed.
    """
    if wanted == "off":
        return "Frozen weights: not packed"
    chosen = list(packable(parts))
    if not chosen:
        return "Frozen weights: as they are, none of them can be packed"
    told = "as pack_frozen_weights asks"
    if wanted == "auto":
        measured_one = _most_common(chosen)
        if measured_one.weight.numel() < _SMALL:
            return "Frozen weights: as they are, the model is small"
        gain = measured(measured_one)
        told = (
            f"a convolution of the U-Net takes {gain.packed * 1000:.0f} ms so, "
            f"and {gain.plain * 1000:.0f} ms as it is"
        )
        if not gain.pays:
            return f"Frozen weights: as they are, since packing would not pay here: {told}"
    for conv in chosen:
        store(conv, packed(conv, conv.weight))
    return f"Frozen weights: {len(chosen)} convolutions packed for the processor, since {told}"


def packable(parts: Sequence[nn.Module]) -> Iterator[nn.Conv2d]:
    """Yield the frozen convolutions that can be packed: on the CPU, and of PyTorch's own kind."""
    for part in parts:
        for module in part.modules():
            if isinstance(module, nn.Conv2d) and can_store(module):
                on_cpu = module.weight.device.type == "cpu" and module.weight.is_floating_point()
                if on_cpu and not _wants_plain(module):
                    yield module


def _wants_plain(module: nn.Module) -> bool:
    layer = getattr(module.__dict__.get("forward"), "__self__", None)
    return isinstance(layer, NetworkLayer) and layer.wants_plain_base


def packed(conv: nn.Conv2d, weight: Tensor) -> PackedConv:
    """Return a convolution's weight, packed in place when it is first used on few pixels."""
    pointwise = conv.kernel_size == (1, 1)
    most = (
        conv.out_channels * _OUTPUTS_PER_PIXEL
        if pointwise
        else (conv.out_channels // _OUTPUTS_PER_PIXEL)
    )
    return PackedConv(weight, ConvShape.of(conv), most)


def _most_common(convs: Sequence[nn.Conv2d]) -> nn.Conv2d:
    """Return one of the shape that most numbers of all these weights are in."""
    numbers: Counter[torch.Size] = Counter()
    for conv in convs:
        numbers[conv.weight.shape] += conv.weight.numel()
    shape = numbers.most_common(1)[0][0]
    return next(conv for conv in convs if conv.weight.shape == shape)


@torch.no_grad()
def measured(conv: nn.Conv2d) -> Gain:
    """Measure both products of a convolution on few pixels, plain and packed; it stays plain.

    Forms take turns, and each one's fastest time counts, without the first.
    """
    forms: tuple[StoredWeight, StoredWeight] = (
        PlainConv(conv.weight, ConvShape.of(conv)),
        packed(conv, conv.weight.clone()),
    )
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for form, taken in zip(forms, times, strict=True):
            taken.append(_seconds(form, conv))
    return Gain(*(min(taken[1:]) for taken in times))


def _seconds(form: StoredWeight, conv: nn.Conv2d) -> float:
    began = time.perf_counter()
    for side in _SIDES:
        x = torch.ones((1, conv.in_channels, side, side), dtype=conv.weight.dtype)
        form.backward_product(form.product(x, None), x.shape)
    return time.perf_counter() - began
