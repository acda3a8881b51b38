"""The LoRA layer: two low-rank factors that are learnt beside one frozen Linear or Conv2d.

A layer adds `up(down(x)) · alpha / rank · multiplier` to the output of its base module. Its state
dict is `alpha`, `lora_down.weight`, `lora_up.weight`, as in a file; with DoRA also `dora_scale`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from sd_scripts.methods.dora import dora_factor, row_norms
from sd_scripts.methods.frozen import ConvShape, compute_dtype, stored_weight
from sd_scripts.methods.layer import NetworkLayer, add_scaled, plain_product, random_stream
from sd_scripts.methods.low_rank import low_rank_conv, low_rank_linear
from sd_scripts.weights.lora_load import as_shape

Start = Literal["kaiming", "normal"]
Restoring = Literal["chance", "drawn", "nothing"]


@dataclass(frozen=True)
class LoraShape:
    """Rank, alpha and dropouts of one layer; the product is scaled by `alpha / rank`.

    `dropout` leaves out numbers of the narrow product, `rank_dropout` whole ranks of a picture,
    `module_dropout` the layer. What the ranks that stay are divided by: the chance that a rank
    stays (as in sd-scripts), the share that was drawn to stay (LyCORIS' `rank_dropout_scale`), or
    nothing (LyCORIS without it).
    """

    rank: int
    alpha: float
    dropout: float = 0.0
    rank_dropout: float = 0.0
    module_dropout: float = 0.0
    rank_dropout_scale: Restoring = "chance"

    @property
    def chance_of_ranks(self) -> float:
        """What the product of the ranks that stay is divided by while training."""
        return 1.0 - self.rank_dropout if self.rank_dropout_scale == "chance" else 1.0


class Factor(nn.Module):
    """One of the two low-rank factors: a lone `weight`, shaped like a Linear's or a Conv2d's."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)


class LoraLayer(NetworkLayer):
    """Low-rank update of one base module: ΔW = up @ down · alpha / rank · multiplier.

    Shapes: for a Linear down is [rank, in], up [out, rank]; for a Conv2d down is
    [rank, in, k, k] and walks like the base, up [out, rank, 1, 1]. `down` starts as
    kaiming_uniform(a=√5), drawn from a generator of its own (seed and name), `up` as zeros:
    an untrained layer changes nothing. Factors are float32 on the base's device.

    With `dora` (DoRA, Liu et al. 2024, eq. 5) the weight is (W + ΔW) · dora_scale / ‖W + ΔW‖,
    lengths by row (`dora="rows"`) or by column; the length is a constant for the gradient (4.3).
    With `frozen_down` (LoRA-FA, Zhang et al. 2023) `down` keeps its start, normal(√(2/(in+rank))).
    """

    alpha: Tensor

    def __init__(
        self,
        name: str,
        base: nn.Module,
        shape: LoraShape,
        seed: int,
        *,
        frozen_down: bool = False,
        dora: Literal["rows", "columns"] | None = None,
    ) -> None:
        super().__init__(name, base, shape.module_dropout)
        assert isinstance(base, nn.Linear | nn.Conv2d), f"{name} is neither Linear nor Conv2d"
        assert getattr(base, "groups", 1) == 1, f"{name} is a grouped convolution"
        self.shape = shape
        self.rank, self.alpha_value = shape.rank, shape.alpha
        self._frozen_down = frozen_down
        self._dora = dora
        down_shape, up_shape = factor_shapes(base, shape.rank)
        device = base.weight.device
        down = torch.empty(down_shape, device=device)
        if device.type != "meta":
            with random_stream(seed, name):
                down = start_of_down(down_shape, "normal" if frozen_down else "kaiming").to(device)
        self.register_buffer("alpha", torch.tensor(float(shape.alpha)))
        self.lora_down = Factor(down)
        self.lora_up = Factor(torch.zeros(up_shape, device=device))
        if dora:
            self.dora_scale = nn.Parameter(row_norms(base.weight, columns=dora == "columns"))
        self.learn(True)

    def learn(self, on: bool) -> None:
        """Let the layer learn, or freeze it."""
        self.requires_grad_(on)
        if self._frozen_down:
            self.lora_down.requires_grad_(False)

    def upper_parameters(self) -> list[nn.Parameter]:
        """Return what LoRA+ gives a higher rate: the upper factor."""
        return [self.lora_up.weight]

    @property
    def scale(self) -> float:
        """`alpha / rank · multiplier`, the factor of the low-rank product."""
        return self.multiplier * self.shape.alpha / self.shape.rank

    def changed_forward(self, x: Tensor) -> Tensor:
        """Return the base module's output for `x`, plus the scaled low-rank product."""
        down, up = self.lora_down.weight, self.lora_up.weight
        if self._dora:
            return self._dora_forward(x, down, up)
        if not self._drops() and self._can_fuse():
            return self.fused(x, down, up, self.scale)
        scale = self.scale
        if self.training:
            scale /= self.shape.chance_of_ranks
        return add_scaled(self.base_forward(x), self._low_rank(x), scale)

    def fused(
        self, x: Tensor, down: Tensor, up: Tensor, scale: float, *, bias: bool = True
    ) -> Tensor:
        """Return the base's output plus `scale · up(down(x))`, in one go."""
        base = self.base
        own_bias, stored = base.bias if bias else None, stored_weight(base)
        assert stored is not None
        if isinstance(base, nn.Linear):
            return low_rank_linear(x, (stored, own_bias), down, up, scale)
        return low_rank_conv(x, (stored, own_bias, ConvShape.of(base)), down, up, scale)

    def _dora_forward(self, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """Scale rows of the output, or columns of the input; W + ΔW itself is in no graph."""
        assert self._dora
        scale = self.shape.alpha / self.shape.rank
        with torch.no_grad():
            difference = (up.flatten(1) @ down.flatten(1)) * scale
        columns = self._dora == "columns"
        factor = dora_factor(self.base.weight, difference, self.dora_scale, columns=columns)

        def low_rank(x: Tensor) -> Tensor:
            if not self._drops() and self._can_fuse():
                return self.fused(x, down, up, scale, bias=False)
            kept = self.shape.chance_of_ranks if self.training else 1.0
            return add_scaled(self.product(x), self._low_rank(x), scale / kept)

        return self.with_bias(self.with_factor(x, factor, low_rank, columns=columns))

    def _drops(self) -> bool:
        return self.training and (self.shape.dropout > 0.0 or self.shape.rank_dropout > 0.0)

    def _can_fuse(self) -> bool:
        """True where the base is frozen, and its products are known here.

        A compiler fuses the plain steps by itself, and sees autocast's number formats in them.
        """
        known = self._replaced is None and stored_weight(self.base) is not None
        return known and not torch.compiler.is_compiling()

    def _low_rank(self, x: Tensor, factors: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return `up(dropouts(down(x)))`, unscaled, in the dtype that products run in here."""
        down, up = factors or (self.lora_down.weight, self.lora_up.weight)
        narrow = plain_product(self.base, x, down)
        up = up.to(compute_dtype(x))
        if self.training and self.shape.dropout > 0.0:
            narrow = functional.dropout(narrow, self.shape.dropout)
        if self.training and self.shape.rank_dropout > 0.0:
            narrow = narrow * self._rank_mask(narrow)
        if isinstance(self.base, nn.Linear):
            return functional.linear(narrow, up)
        return functional.conv2d(narrow, up)

    def _rank_mask(self, narrow: Tensor) -> Tensor:
        """Return ones and zeros by (picture, rank), to broadcast over a narrow product."""
        conv = isinstance(self.base, nn.Conv2d)
        ranks = narrow.shape[1 if conv else -1]
        drawn = torch.rand(len(narrow), ranks, device=narrow.device)
        mask = (drawn > self.shape.rank_dropout).to(narrow.dtype)
        if self.shape.rank_dropout_scale == "drawn":
            mask = by_share(mask)
        if conv:
            return mask[:, :, None, None]
        return mask.view(len(mask), *[1] * (narrow.ndim - 2), -1)

    def file_tensors(self) -> dict[str, Tensor]:
        """Return alpha and the two factors; with DoRA also the lengths."""
        found = {
            "alpha": self.alpha,
            "lora_down.weight": self.lora_down.weight,
            "lora_up.weight": self.lora_up.weight,
        }
        return {**found, "dora_scale": self.dora_scale} if self._dora else found

    def misfit(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Say how a file's tensors are not those of this layer; 1x1 axes do not matter."""
        own = self.file_tensors()
        shaped = {
            key: found
            if key not in own or (fit := as_shape(found, own[key].shape)) is None
            else fit
            for key, found in tensors.items()
        }
        if wrong := super().misfit(shaped):
            return wrong
        alpha = float(tensors["alpha"]) if "alpha" in tensors else float(self.shape.rank)
        return None if alpha == self.shape.alpha else f"has the alpha {alpha:g}"

    @torch.no_grad()
    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a file's factors, which fit; the alpha is that of this layer."""
        for key, own in self.file_tensors().items():
            if key != "alpha":
                fitting = as_shape(tensors[key], own.shape)
                assert fitting is not None, f"{self.name}: sizes were not checked"
                own.copy_(fitting)

    @torch.no_grad()
    def scale_norm(self, largest: float) -> float:
        """Scale the factors so that ‖ΔW‖ is at most `largest`, both by the same root.

        The Frobenius norm comes from the factors' small Gram matrices. A norm under half of
        `largest` counts as that half in sd-scripts, which changes nothing. Returns the norm.
        """
        down, up = self.lora_down.weight.flatten(1), self.lora_up.weight.flatten(1)
        squared = ((up.t() @ up) * (down @ down.t())).sum().clamp(min=0.0)
        norm = float(squared.sqrt()) * self.shape.alpha / self.shape.rank
        if norm <= largest:
            return norm
        ratio = largest / norm
        if self._frozen_down:
            self.lora_up.weight.mul_(ratio)
        else:
            self.lora_up.weight.mul_(math.sqrt(ratio))
            self.lora_down.weight.mul_(math.sqrt(ratio))
        return norm


def by_share(mask: Tensor) -> Tensor:
    """Divide rows of ones and zeros by their share of ones; rows without any stay zeros."""
    return mask / mask.mean(dim=-1, keepdim=True).clamp(min=0.5 / mask.shape[-1])


def factor_shapes(base: nn.Linear | nn.Conv2d, rank: int) -> tuple[list[int], list[int]]:
    """Return the shapes of `lora_down.weight` and `lora_up.weight` for `base`."""
    if isinstance(base, nn.Linear):
        return [rank, base.in_features], [base.out_features, rank]
    return [rank, base.in_channels, *base.kernel_size], [base.out_channels, rank, 1, 1]


def start_of_down(shape: list[int], start: Start) -> Tensor:
    """Draw a lower factor from PyTorch's global random numbers.

    "kaiming": kaiming_uniform(a=√5), i.e. ±1/√fan_in. "normal": standard deviation √(2/(in+rank)).
    """
    if start == "normal":
        return torch.empty(shape).normal_(std=math.sqrt(2.0 / (shape[1] + shape[0])))
    bound = 1.0 / math.sqrt(math.prod(shape[1:]))
    return torch.empty(shape).uniform_(-bound, bound)
