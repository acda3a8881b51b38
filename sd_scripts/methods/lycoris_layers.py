"""LyCORIS layers that need no library: whole differences, norms, IA3; and what all have in common.

Every kind adds Δ(x) to the base's product before its bias. As LyCORIS defines dropout for what is
not a low-rank chain, `dropout` acts on Δ(x) and `rank_dropout` on its output channels; with
`rank_dropout_scale` those that stay are divided by their share.
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
from sd_scripts.methods.layer import (
    NetworkLayer,
    add_scaled,
    along_channels,
    channel_mask,
    is_plain,
    plain_product,
)
from sd_scripts.methods.lora_layers import by_share
from sd_scripts.options.network_table import Algorithm
from sd_scripts.weights.network_difference import difference


@dataclass(frozen=True)
class LycorisShape:
    """Settings of one LyCORIS layer, under LyCORIS' names; `alpha` 0 is the rank.

    `dora` says whose lengths DoRA learns. `alpha` is as the option has it: with `rs_lora` a file
    has alpha · √rank.
    """

    algo: Algorithm
    rank: int
    alpha: float
    dropout: float = 0.0
    rank_dropout: float = 0.0
    rank_dropout_scale: bool = False
    module_dropout: float = 0.0
    use_tucker: bool = False
    use_scalar: bool = False
    rs_lora: bool = False
    dora: Literal["rows", "columns"] | None = None
    factor: int = -1
    decompose_both: bool = False
    full_matrix: bool = False
    unbalanced_factorization: bool = False
    block_size: int = 4
    constraint: float = 0.0
    rescaled: bool = False
    train_on_input: bool = False

    @property
    def file_alpha(self) -> float:
        """The alpha of a file, by which readers scale with alpha / rank."""
        alpha = self.alpha or float(self.rank)
        return alpha * math.sqrt(self.rank) if self.rs_lora else alpha


class DifferenceLayer(NetworkLayer):
    """A layer that adds Δ(x) to the base's product; the kind of layer says what Δ is.

    Parameters are named as a file's tensors are, dots made underscores.
    """

    def __init__(self, name: str, base: nn.Module, shape: LycorisShape) -> None:
        super().__init__(name, base, shape.module_dropout)
        self.shape = shape
        self.rank, self.alpha_value = shape.rank, shape.file_alpha
        if shape.dora:
            assert isinstance(base.weight, Tensor)
            lengths = row_norms(base.weight, columns=shape.dora == "columns")
            self.dora_scale = nn.Parameter(lengths)

    def delta(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what is added to the base's product `y` = W x at full strength."""
        raise NotImplementedError

    def changed_forward(self, x: Tensor) -> Tensor:
        """Return the base's output, changed by what was learned."""
        if self.shape.dora:
            return self._dora_forward(x)
        y = self.product(x)
        added = self.dropped(self.delta(x, y)).to(y.dtype)
        return self.with_bias(add_scaled(y, added, self.multiplier))

    def _dora_forward(self, x: Tensor) -> Tensor:
        columns = self.shape.dora == "columns"
        with torch.no_grad():
            parts = {k: v for k, v in self.file_tensors().items() if k != "dora_scale"}
            found = difference(parts, self.base.weight)
        assert found is not None
        factor = dora_factor(self.base.weight, found.weight, self.dora_scale, columns=columns)

        def product(x: Tensor) -> Tensor:
            y = self.product(x)
            return y + self.dropped(self.delta(x, y)).to(y.dtype)

        return self.with_bias(self.with_factor(x, factor, product, columns=columns))

    @property
    def drops(self) -> bool:
        """Whether parts of the change are left out now."""
        return self.training and (self.shape.dropout > 0.0 or self.shape.rank_dropout > 0.0)

    def dropped(self, added: Tensor) -> Tensor:
        """Return what is added, with the parts left out that dropout chose in this step."""
        if not self.drops:
            return added
        if self.shape.rank_dropout > 0.0:
            channels = added.shape[1 if isinstance(self.base, nn.Conv2d | nn.GroupNorm) else -1]
            kept = torch.rand(channels, device=added.device) > self.shape.rank_dropout
            mask = by_share(kept.float()) if self.shape.rank_dropout_scale else kept
            added = channel_mask(added, self.base, mask)
        return functional.dropout(added, self.shape.dropout)

    def misfit(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Say how a file's tensors are not those of this layer."""
        if wrong := super().misfit(tensors):
            return wrong
        for key in ("alpha", "on_input"):
            own = self.file_tensors().get(key)
            if own is not None and key in tensors:
                theirs = float(tensors[key])
                if not math.isclose(theirs, float(own), rel_tol=1e-2):
                    return f"has {key} {theirs:g}"
        return None

    @torch.no_grad()
    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a file's tensors."""
        own = dict(self.named_parameters())
        for key, tensor in tensors.items():
            if (found := own.get(key.replace(".", "_"))) is not None:
                found.copy_(tensor)

    def scaled_with_norm(self) -> tuple[nn.Parameter, ...]:
        """Return the parameters that the change of the weights is proportional to."""
        return ()

    @torch.no_grad()
    def scale_norm(self, largest: float) -> float:
        """Scale the change of the weights so that its norm is at most `largest`."""
        found = difference(self.file_tensors(), self.base.weight)
        assert found is not None
        norm = float(found.weight.norm())
        if norm > largest:
            for parameter in self.scaled_with_norm():
                parameter.mul_(largest / norm)
        return norm


class FullLayer(DifferenceLayer):
    """Learns the whole difference of a weight and of its bias: `diff`, `diff_b`.

    The base stays as it is, so that what is learned keeps its precision on a bfloat16 base.
    """

    wants_plain_base = True

    def __init__(self, name: str, base: nn.Module, shape: LycorisShape) -> None:
        super().__init__(name, base, shape)
        self.rank = self.alpha_value = None
        weight, bias = base.weight, base.bias
        assert isinstance(weight, Tensor)
        self.diff = nn.Parameter(torch.zeros(weight.shape, device=weight.device))
        if isinstance(bias, Tensor):
            self.diff_b = nn.Parameter(torch.zeros(bias.shape, device=bias.device))

    @property
    def _bias(self) -> nn.Parameter | None:
        return self.diff_b if self.base.bias is not None else None

    def delta(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the product with the difference, and the difference of the bias."""
        del y
        added = plain_product(self.base, x, self.diff)
        bias = self._bias
        return added if bias is None else added + along_channels(bias.to(added.dtype), self.base)

    def changed_forward(self, x: Tensor) -> Tensor:
        """Return the product with the changed weight, in one go where nothing is left out."""
        base, bias = self.base, self._bias
        if self.drops or self._replaced is not None or not is_plain(base):
            return super().changed_forward(x)
        y = plain_product(base, x, torch.add(base.weight.float(), self.diff, alpha=self.multiplier))
        if bias is None:
            return y
        changed = torch.add(base.bias.float(), bias, alpha=self.multiplier)
        return y + along_channels(changed.to(y.dtype), base)

    def file_tensors(self) -> dict[str, Tensor]:
        """Return the differences."""
        found: dict[str, Tensor] = {"diff": self.diff}
        return found if self._bias is None else {**found, "diff_b": self.diff_b}

    def scaled_with_norm(self) -> tuple[nn.Parameter, ...]:
        """Return the differences."""
        return (self.diff,) if self._bias is None else (self.diff, self.diff_b)


class NormLayer(DifferenceLayer):
    """Learns the difference of a norm's weight and bias, [channels] each: `w_norm`, `b_norm`."""

    def __init__(self, name: str, base: nn.Module, shape: LycorisShape) -> None:
        super().__init__(name, base, shape)
        self.rank = self.alpha_value = None
        assert isinstance(base, nn.GroupNorm | nn.LayerNorm)
        channels, device = base.weight.numel(), base.weight.device
        self.w_norm = nn.Parameter(torch.zeros(channels, device=device))
        if base.bias is not None:
            self.b_norm = nn.Parameter(torch.zeros(channels, device=device))

    def changed_forward(self, x: Tensor) -> Tensor:
        """Return the base's output, and what the differences add to it."""
        base = self.base
        if isinstance(base, nn.GroupNorm):
            normed = functional.group_norm(x, base.num_groups, eps=base.eps)
            along = (-1, *[1] * (x.ndim - 2))
        else:
            normed = functional.layer_norm(x, base.normalized_shape, eps=base.eps)
            along = (-1,)
        added = normed * self.w_norm.view(along)
        if base.bias is not None:
            added = added + self.b_norm.view(along)
        y = self.base_forward(x)
        return add_scaled(y, self.dropped(added).to(y.dtype), self.multiplier)

    def file_tensors(self) -> dict[str, Tensor]:
        """Return the differences."""
        found: dict[str, Tensor] = {"w_norm": self.w_norm}
        return found if self.base.bias is None else {**found, "b_norm": self.b_norm}

    def scaled_with_norm(self) -> tuple[nn.Parameter, ...]:
        """Return the difference of the weight."""
        return (self.w_norm,)


class Ia3Layer(DifferenceLayer):
    """IA3 (Liu et al. 2022): a factor for each output channel, or for each input channel.

    `weight` is [channels] for a Linear and [1, channels, 1, 1] for a Conv2d, the factor less 1.
    """

    on_input: Tensor

    def __init__(self, name: str, base: nn.Module, shape: LycorisShape) -> None:
        super().__init__(name, base, shape)
        self.rank = self.alpha_value = None
        assert isinstance(base, nn.Linear | nn.Conv2d)
        channels = base.weight.shape[1 if shape.train_on_input else 0]
        sizes = (channels,) if isinstance(base, nn.Linear) else (1, channels, 1, 1)
        self.weight = nn.Parameter(torch.zeros(sizes, device=base.weight.device))
        self.register_buffer("on_input", torch.tensor(int(shape.train_on_input)))

    def delta(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the scaled output, or the product of the scaled input."""
        if self.shape.train_on_input:
            return self.product(x * self.weight.to(x.dtype))
        return y * self.weight.to(y.dtype)

    def file_tensors(self) -> dict[str, Tensor]:
        """Return the factors, and which side they are of."""
        return {"weight": self.weight, "on_input": self.on_input}
