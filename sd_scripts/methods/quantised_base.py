"""Which of a model's frozen weights are stored in fewer bits, and what that saves.

These are the layers that networks attach to: nearly all of a model's numbers. Embeddings, norms,
biases, and the U-Net's first and last layer stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from sd_scripts.methods.frozen import FrozenBase, can_store, store
from sd_scripts.methods.quantised import FORMATS, QuantisedWeight
from sd_scripts.options.groups.training import BaseFormat, PerformanceOptions
from sd_scripts.weights.model_kinds import Owner


class _Target(Protocol):
    @property
    def owner(self) -> Owner: ...
    @property
    def module(self) -> nn.Module: ...


class _Family(Protocol):
    def network_targets(self, model: Any) -> Sequence[_Target]: ...


class FrozenModel(Protocol):
    """What is asked of a loaded model whose weights do not learn."""

    @property
    def family(self) -> _Family: ...


@dataclass(frozen=True)
class Saving:
    """What storing the base in fewer bits changes: layers, and their bytes before and after."""

    kind: BaseFormat
    num_layers: int
    before: int
    after: int


def quantise_base(performance: PerformanceOptions, model: FrozenModel) -> None:
    """Store the frozen layers in the job's format, in place, if it has one.

    Each layer's dense weight is let go as soon as it is stored. A model without memory ("meta") is
    left as it is.
    """
    kind = performance.base_format
    if kind is None:
        return
    for module in _layers(performance, model):
        if module.weight.device.type != "meta":
            store(module, QuantisedWeight.of(module, kind))


def saving_of(
    performance: PerformanceOptions, model: FrozenModel, dtype: torch.dtype
) -> Saving | None:
    """Return what the job's format saves against weights of `dtype`; None without a format.

    Counts by shapes alone, so the model may be on "meta".
    """
    kind = performance.base_format
    if kind is None:
        return None
    shapes = [_shape(module) for module in _layers(performance, model)]
    size = torch.empty(0, dtype=dtype).element_size()
    return Saving(
        kind,
        len(shapes),
        before=sum(shape.numel() for shape in shapes) * size,
        after=sum(FORMATS[kind].num_bytes(shape) for shape in shapes),
    )


def _layers(performance: PerformanceOptions, model: FrozenModel) -> Iterator[nn.Linear | nn.Conv2d]:
    for target in model.family.network_targets(model):
        module = target.module
        wanted = target.owner == "unet" or performance.quantizes_text_encoders
        if wanted and isinstance(module, nn.Linear | nn.Conv2d) and _frozen(module):
            yield module


def _frozen(module: nn.Linear | nn.Conv2d) -> bool:
    return isinstance(module, FrozenBase) or can_store(module)


def _shape(module: nn.Linear | nn.Conv2d) -> torch.Size:
    """Return the shape of a weight without making it dense."""
    if isinstance(module, nn.Linear):
        return torch.Size((module.out_features, module.in_features))
    return torch.Size((module.out_channels, module.in_channels, *module.kernel_size))
