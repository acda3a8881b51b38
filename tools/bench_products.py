"""What the products of an SD 1.x step cost with frozen weights in each form they can have.

`python -m tools.bench_products` measures the forward product and the gradient of every 3x3
convolution and Linear of U-Net and text encoder at 256 px, batch 1: with the plain weight, in the
form that needs no memory (rows of a matrix; read as it is by oneDNN) and as a pair. It prints
milliseconds of processor time on each core (the fastest of three calls, with weights that are not
in the cache), and the sums over all layers: what a step can gain at most on this processor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from sd_scripts.runs.machine import settle_process, usable_cores

settle_process()  # before torch is imported

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from sd_scripts.methods.frozen import (  # noqa: E402
    ConvShape,
    PlainConv,
    PlainLinear,
    StoredWeight,
)
from sd_scripts.methods.packed_conv import PackedConv  # noqa: E402
from sd_scripts.methods.packed_pair import (  # noqa: E402
    DirectLinear,
    PackedConvPair,
    PackedLinearPair,
)

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}
CALLS: Final = 4
"""The first does not count."""
CACHE_NUMBERS: Final = 24 * 2**20
"""So many float32 numbers are touched between two calls: more than a processor's cache holds."""
SHAPE: Final = ConvShape((1, 1), (1, 1), (1, 1))


class Conv(NamedTuple):
    """A 3x3 convolution: channels, pixels of a side, and how many of them there are."""

    out: int
    into: int
    side: int
    number: int

    def __str__(self) -> str:
        """Name it as a table does."""
        return f"3x3 {self.into} to {self.out}, {self.side} by {self.side} pixels"


class Line(NamedTuple):
    """A Linear: features, rows, and how many of them there are."""

    out: int
    into: int
    rows: int
    number: int

    def __str__(self) -> str:
        """Name it as a table does."""
        return f"Linear {self.into} to {self.out}, {self.rows} rows"


CONVS: Final = [
    *(Conv(320, 4, 32, 1), Conv(4, 320, 32, 1), Conv(320, 320, 32, 7), Conv(640, 640, 32, 1)),
    *(Conv(320, 960, 32, 1), Conv(320, 640, 32, 2), Conv(640, 320, 16, 1), Conv(640, 640, 16, 6)),
    *(Conv(1280, 1280, 16, 1), Conv(640, 1920, 16, 1), Conv(640, 1280, 16, 1)),
    *(Conv(640, 960, 16, 1), Conv(1280, 640, 8, 1), Conv(1280, 1280, 8, 7), Conv(1280, 2560, 8, 2)),
    *(Conv(1280, 1920, 8, 1), Conv(1280, 1280, 4, 11), Conv(1280, 2560, 4, 3)),
]
"""Those of the U-Net with stride 1."""
BLOCKS: Final = ((320, 1024, 5), (640, 256, 5), (1280, 64, 5), (1280, 16, 1))
"""Transformers of the U-Net: channels, pixels, how many."""
TOKENS: Final = 77


def lines() -> list[Line]:
    """Return the Linears of the U-Net's transformers and of CLIP-L."""
    found = [Line(768, 768, TOKENS, 48), Line(3072, 768, TOKENS, 12), Line(768, 3072, TOKENS, 12)]
    for channels, rows, number in BLOCKS:
        found += [
            Line(channels, channels, rows, 6 * number),
            Line(8 * channels, channels, rows, number),
            Line(channels, 4 * channels, rows, number),
            Line(channels, 768, TOKENS, 2 * number),
        ]
    return found


def milliseconds(call: Callable[[], object], touched: Tensor) -> float:
    """Return the processor time of a call on each core, of the fastest but for the first."""
    taken = []
    for _ in range(CALLS):
        touched.add_(1)
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return 1000 * min(taken[1:]) / usable_cores()


def forms_of(layer: Conv | Line, dtype: torch.dtype) -> tuple[dict[str, StoredWeight], Tensor]:
    """Return a layer's weight in each form, and an input."""
    if isinstance(layer, Line):
        matrix = torch.randn(layer.out, layer.into).to(dtype)
        forms: dict[str, StoredWeight] = {
            "plain": PlainLinear(matrix),
            "free": DirectLinear(matrix),
            "pair": PackedLinearPair(matrix),
        }
        return forms, torch.randn(layer.rows, layer.into).to(dtype)
    weight = torch.randn(layer.out, layer.into, 3, 3).to(dtype)
    forms = {
        "plain": PlainConv(weight, SHAPE),
        "free": PackedConv(weight.clone(), SHAPE, layer.side**2, onednn=True),
        "pair": PackedConvPair(weight, SHAPE),
    }
    x = torch.randn(1, layer.into, layer.side, layer.side).to(dtype)
    return forms, x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def measure(name: str, layers: Sequence[Conv | Line], dtype: torch.dtype, touched: Tensor) -> None:
    """Print what each layer's products take, and the sums."""
    sums = {"plain": 0.0, "free": 0.0, "pair": 0.0}
    for layer in layers:
        forms, x = forms_of(layer, dtype)
        grad = torch.randn_like(forms["plain"].product(x, None))
        told, both = [], {}
        for form, weight in forms.items():
            forward = milliseconds(partial(weight.product, x, None), touched)
            back = milliseconds(partial(weight.backward_product, grad, x.shape), touched)
            told.append(f"{form} {forward:.1f} and {back:.1f}")
            both[form] = forward + back
        both["free"] = min(both["free"], both["plain"])
        for form, taken in both.items():
            sums[form] += taken * layer.number
        print(f"{name}, {layer}, {layer.number} times: {'; '.join(told)} ms", flush=True)
    told = [f"{form} {taken / 1000:.2f} s" for form, taken in sums.items()]
    print(f"{name}, all of these: {', '.join(told)} (free: the better of plain and free)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=tuple(DTYPES), action="append")
    given = parser.parse_args()
    touched = torch.ones(CACHE_NUMBERS)
    for precision in given.precision or DTYPES:
        for layers in (CONVS, lines()):
            measure(precision, layers, DTYPES[precision], touched)


if __name__ == "__main__":
    main()
