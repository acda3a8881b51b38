"""Which frozen weights of a base are packed for the CPU, and whether that pays on this machine.

Three forms. A pair (`packed_pair.py`) is the fastest, and takes the weight's memory once more; rows
of a matrix (`packed_conv.py`) and Linears that oneDNN reads as they are take none. What a pair
saves grows with the pixels that a weight is used on, and in a U-Net the small weights are the ones
that see many pixels. A convolution saves more for its memory than a Linear. So pairs are
made of convolutions first, and of the smallest weights of each kind first, as far as a share of the
base's memory goes. That order depends on nothing but the model: a run that is resumed chooses as
the one before.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from sd_scripts.methods.frozen import (
    ConvShape,
    PlainConv,
    PlainLinear,
    StoredWeight,
    can_store,
    store,
)
from sd_scripts.methods.layer import NetworkLayer
from sd_scripts.methods.packed_conv import PackedConv
from sd_scripts.methods.packed_pair import (
    DirectLinear,
    PackedConvPair,
    PackedLinearPair,
    can_pair,
)
from sd_scripts.runs.machine import give_back_memory

Wanted = Literal["auto", "on", "off"]
Frozen = nn.Linear | nn.Conv2d
_Module = TypeVar("_Module", nn.Linear, nn.Conv2d)

_OUTPUTS_PER_PIXEL: Final = 8
"""A 3x3 convolution is packed as rows for batches of at most one pixel to so many output channels.
Beyond that the product takes so much longer than reordering the weight that nothing is won. Of a
1x1 convolution the neighbourhoods are the pixels themselves, and rows are never slower."""

_SMALL: Final = 2**20
"""A model whose largest convolution has fewer numbers is so small that it does not matter."""

_SHARE: Final = {torch.float32: 0.26, torch.bfloat16: 0.18}
"""How much of the base's memory pairs may take in addition."""

_SIDES: Final = (8, 4)
_ROWS: Final = 64
_ROUNDS: Final = 3
_WORTH: Final = 0.95
_WORTH_MEMORY: Final = 0.7
"""How much of the plain products' time the packed ones may take at most; less for a pair."""


_clock: Final = time.perf_counter if sys.platform == "win32" else time.process_time
"""The time that this process got: other work beside it does not matter. Windows counts it in 16 ms.
"""


class Gain(NamedTuple):
    """Seconds that a layer's two products take with its weight plain and in the other forms.

    What a layer cannot have, or this machine has no use for, takes for ever.
    """

    plain: float
    rows: float = float("inf")
    pair: float = float("inf")
    direct: float = float("inf")

    @property
    def rows_pay(self) -> bool:
        """Whether rows are clearly faster than the plain weight."""
        return self.rows <= _WORTH * self.plain

    @property
    def pair_pays(self) -> bool:
        """Whether a pair is much faster than the plain weight, and no slower than what is free."""
        return self.pair <= min(_WORTH_MEMORY * self.plain, self.rows, self.direct)

    @property
    def direct_pays(self) -> bool:
        """Whether oneDNN is clearly faster with the plain weight."""
        return self.direct <= _WORTH * self.plain


class Forms(NamedTuple):
    """Which forms are used: pairs of convolutions and Linears, and for the others rows, direct."""

    conv_pairs: bool
    linear_pairs: bool
    conv_rows: bool
    linear_direct: bool


_FORM_OF: Final[dict[type, str]] = {
    PackedConvPair: "conv_pairs",
    PackedLinearPair: "linear_pairs",
    PackedConv: "conv_rows",
    DirectLinear: "linear_direct",
}


def forms_of(parts: Sequence[nn.Module]) -> tuple[str, ...]:
    """Return the names of the forms that `pack_base` has used, as a training state keeps them."""
    modules = [module for part in parts for module in part.modules()]
    used = {_FORM_OF.get(type(getattr(module, "stored", None))) for module in modules}
    return tuple(name for name in Forms._fields if name in used)


def pack_base(
    parts: Sequence[nn.Module], wanted: Wanted, before: Sequence[str] | None = None
) -> str:
    """Pack the frozen weights of `parts` where that pays; says in a line what was done.

    With "auto" the most common convolution and Linear are measured, in about a second, or it is as
    `before`: the forms that the run used which is resumed. "on" packs without measuring. Layers
    must be attached already. Elsewhere than on a CPU nothing is packed.
    """
    if wanted == "off":
        return "Frozen weights: not packed"
    chosen = list(packable(parts))
    convs = [module for module in chosen if isinstance(module, nn.Conv2d)]
    if not convs:
        return "Frozen weights: as they are, none of them can be packed"
    pairs = can_pair(convs[0].weight.dtype)
    if wanted == "on":
        forms, told = (
            Forms(pairs, pairs, conv_rows=True, linear_direct=pairs),
            "as pack_frozen_weights asks",
        )
    elif before is not None:
        names = [name for name in before if pairs or name == "conv_rows"]
        forms = Forms(*(name in names for name in Forms._fields))
        told = "as in the run that goes on"
    elif _most_common(convs).weight.numel() < _SMALL:
        return "Frozen weights: as they are, the model is small"
    else:
        forms, told = _measured_forms(chosen, pairs=pairs)
    if not any(forms):
        return f"Frozen weights: as they are, {told}"
    return f"Frozen weights: {_pack(chosen, forms, _allowed_bytes(parts), pairs)}, {told}"


def _measured_forms(chosen: Sequence[Frozen], *, pairs: bool) -> tuple[Forms, str]:
    """Measure what pays; returns it, and in words why."""
    conv = measured(_most_common([m for m in chosen if isinstance(m, nn.Conv2d)]), pair=pairs)
    linears = [module for module in chosen if isinstance(module, nn.Linear)]
    linear = measured(_most_common(linears), pair=True) if pairs and linears else Gain(0.0)
    forms = Forms(conv.pair_pays, linear.pair_pays, conv.rows_pay, linear.direct_pays)
    told = (
        f"since a convolution of the U-Net takes {min(conv.rows, conv.pair) * 1000:.0f} ms so, "
        f"and {conv.plain * 1000:.0f} ms as it is"
    )
    return forms, told if any(forms) else f"since packing would not pay here: {told[6:]}"


def _pack(chosen: Sequence[Frozen], forms: Forms, allowed: int, onednn: bool) -> str:
    """Give each module its form; says in words how many got which.

    `onednn` says whether rows may use oneDNN's products, `allowed` how many bytes pairs may add.
    """
    pairs = 0
    for module in sorted(chosen, key=_turn):
        wanted = forms.conv_pairs if isinstance(module, nn.Conv2d) else forms.linear_pairs
        stored = (
            paired(module, module.weight) if wanted and module.weight.nbytes <= allowed else None
        )
        if stored is not None:
            allowed -= module.weight.nbytes
            store(module, stored)
            give_back_memory()  # what the orders were made by way of lies between them in the heap
            pairs += 1
    rest = [module for module in chosen if can_store(module)]
    convs = [m for m in rest if isinstance(m, nn.Conv2d)] if forms.conv_rows else []
    linears = [m for m in rest if isinstance(m, nn.Linear)] if forms.linear_direct else []
    for conv in convs:
        store(conv, packed(conv, conv.weight, onednn=onednn))
    for linear in linears:
        store(linear, DirectLinear(linear.weight))
    told = [f"{pairs} packed for the processor, in the orders of both products"] if pairs else []
    if convs:
        told.append(f"{len(convs)} convolutions packed for the processor as rows")
    if linears:
        told.append(f"{len(linears)} Linears read as they are by oneDNN")
    return ", ".join(told)


def _turn(module: Frozen) -> tuple[bool, int]:
    """Return what sorts modules by what a pair saves for its memory, most first."""
    return isinstance(module, nn.Linear), module.weight.numel()


def packable(parts: Sequence[nn.Module]) -> Iterator[Frozen]:
    """Yield the frozen weights that can be packed: on the CPU, and of PyTorch's own kinds.

    Not those of the time embedding: a product with one row is over when its weight is read.
    """
    for part in parts:
        for name, module in part.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and can_store(module):
                on_cpu = module.weight.device.type == "cpu" and module.weight.is_floating_point()
                if on_cpu and not _wants_plain(module) and "time_emb" not in name:
                    yield module


def _wants_plain(module: nn.Module) -> bool:
    layer = getattr(module.__dict__.get("forward"), "__self__", None)
    return isinstance(layer, NetworkLayer) and layer.wants_plain_base


def _allowed_bytes(parts: Sequence[nn.Module]) -> int:
    """Return how many bytes pairs may take in addition."""
    weights = [parameter for part in parts for parameter in part.parameters()]
    found = sum(_SHARE.get(weight.dtype, 0.0) * weight.nbytes for weight in weights)
    return int(found)


def packed(conv: nn.Conv2d, weight: Tensor, *, onednn: bool = False) -> PackedConv:
    """Return a convolution's weight, packed in place when it is first used on few pixels.

    With `onednn` its float32 products are oneDNN's, which `can_pair` must have allowed.
    """
    most = sys.maxsize if _is_pointwise(conv) else conv.out_channels // _OUTPUTS_PER_PIXEL
    return PackedConv(weight, ConvShape.of(conv), most, onednn=onednn)


def paired(module: Frozen, weight: Tensor) -> StoredWeight | None:
    """Return `weight`, shaped like the module's, in the orders of both products.

    None if it cannot be, or has nothing to win: a 1x1 convolution is a Linear of its pixels, and
    as rows it is as fast. Its order would also be another for few pixels than for many. With the
    wrong one oneDNN brings the weight back at every call, which took 70 ms where the product
    takes 1.
    """
    if isinstance(module, nn.Linear):
        return PackedLinearPair(weight)
    shape = ConvShape.of(module)
    if shape.stride != (1, 1) or _is_pointwise(module):
        return None
    return PackedConvPair(weight, shape)


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == (1, 1)


def _most_common(modules: Sequence[_Module]) -> _Module:
    """Return one of the shape that most numbers of all these weights are in."""
    numbers: Counter[torch.Size] = Counter()
    for module in modules:
        numbers[module.weight.shape] += module.weight.numel()
    shape = numbers.most_common(1)[0][0]
    return next(module for module in modules if module.weight.shape == shape)


@torch.no_grad()
def measured(module: Frozen, *, pair: bool) -> Gain:
    """Measure both products of a module in each form that it can have; it stays plain.

    A convolution is measured on few pixels, where it matters most. Forms take turns, and each
    one's fastest time counts, without the first.
    """
    weight = module.weight
    # Clones: a pair lets file pages of its weight go, and rows change the order of its numbers.
    forms: dict[str, StoredWeight | None] = {
        "pair": paired(module, weight.clone()) if pair else None
    }
    if isinstance(module, nn.Conv2d):
        forms["plain"] = PlainConv(weight, ConvShape.of(module))
        forms["rows"] = packed(module, weight.clone(), onednn=pair)
    else:
        forms["plain"] = PlainLinear(weight)
        forms["direct"] = DirectLinear(weight) if pair else None
    inputs = list(_inputs(module))
    times: dict[str, list[float]] = {name: [] for name, form in forms.items() if form}
    for _ in range(_ROUNDS):
        for name, taken in times.items():
            form = forms[name]
            assert form is not None
            taken.append(_seconds(form, inputs))
    return Gain(**{name: min(taken[1:]) for name, taken in times.items()})


def _inputs(module: Frozen) -> Iterator[Tensor]:
    dtype = module.weight.dtype
    if isinstance(module, nn.Linear):
        yield torch.ones((_ROWS, module.in_features), dtype=dtype)
        return
    for side in _SIDES:
        yield torch.ones((1, module.in_channels, side, side), dtype=dtype)


def _seconds(form: StoredWeight, inputs: Sequence[Tensor]) -> float:
    began = _clock()
    for x in inputs:
        form.backward_product(form.product(x, None), x.shape)
    return _clock() - began
