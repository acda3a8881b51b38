"""Reading LoRA files of any writer: tensors by module, under this program's own names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from sd_scripts.errors import Problem, UserError
from sd_scripts.weights.files import load_tensors, read_metadata
from sd_scripts.weights.lora_names import read_name
from sd_scripts.weights.model_kinds import FamilyName


@dataclass(frozen=True)
class LoraModule:
    """One module's factors: ΔW = up @ down · alpha / rank; with DoRA also lengths of the rows.

    For a Linear down is [rank, in] and up [out, rank]; for a Conv2d down is [rank, in, k, k] and
    up [out, rank, 1, 1]. 1x1 convolutions and Linears are told apart by who uses them: both forms
    are met for the same module (see `as_shape`).
    """

    down: Tensor
    up: Tensor
    alpha: float
    dora: Tensor | None = None

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def difference(self) -> Tensor:
        """Return ΔW in float32, shaped like the base weight."""
        down, up = self.down.float(), self.up.float()
        product = (up.flatten(1) @ down.flatten(1)) * self.scale
        return product.view(up.shape[0], *down.shape[1:])


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file: modules in its order, its metadata, and the keys that are no LoRA tensors."""

    modules: Mapping[str, LoraModule]
    metadata: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def as_shape(tensor: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor | None:
    """Return a factor in the form `shape` if only 1x1 axes are too many or too few, else None.

    SD 2.x and SDXL attention projections are Linear in one program and 1x1 convolutions in
    another; the numbers are the same.
    """
    if tensor.shape == tuple(shape):
        return tensor
    same = _without_ones(tuple(tensor.shape)) == _without_ones(tuple(shape))
    return tensor.reshape(tuple(shape)) if same else None


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if shape[2:] == (1, 1) else shape


def read_lora(
    path: str | os.PathLike[str], family: FamilyName, option: str | None = None
) -> LoraFile:
    """Read a LoRA file whoever wrote it; names come out as `family`'s files have them.

    A missing alpha means the rank. Raises `UserError`, with every problem, if the file cannot be
    read or a module lacks one of its factors, or if factors of one module do not fit together.
    """
    path = Path(path)
    tensors = load_tensors(path, option)
    return lora_from_tensors(tensors, family, path.name, option, metadata=read_metadata(path))


def lora_from_tensors(
    tensors: Mapping[str, Tensor],
    family: FamilyName,
    source: str = "the LoRA",
    option: str | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
) -> LoraFile:
    """The same from tensors in memory; `source` names them in messages."""
    parts: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for key, tensor in tensors.items():
        name = read_name(key, family)
        if name is None:
            unknown.append(key)
        else:
            parts.setdefault(name.module, {})[name.part] = tensor
    problems = [_problem(text, source, option) for text in _faults(parts)]
    if not parts:
        problems.append(_problem("it holds no LoRA weights", source, option))
    if problems:
        raise UserError.of(problems)
    modules = {name: _module(found) for name, found in parts.items()}
    return LoraFile(modules, metadata or {}, tuple(unknown))


def _module(parts: Mapping[str, Tensor]) -> LoraModule:
    down, up = parts["down"], parts["up"]
    alpha = float(parts["alpha"]) if "alpha" in parts else float(down.shape[0])
    return LoraModule(down, up, alpha or float(down.shape[0]), parts.get("dora"))


def _faults(parts: Mapping[str, Mapping[str, Tensor]]) -> Iterator[str]:
    for name, found in parts.items():
        if missing := {"down", "up"} - found.keys():
            yield f"{name} has no lora_{' and no lora_'.join(sorted(missing))} weight"
        elif found["down"].ndim < 2 or found["up"].shape[1:2] != found["down"].shape[:1]:
            yield f"the factors of {name} do not fit together"
        elif "alpha" in found and found["alpha"].numel() != 1:
            yield f"the alpha of {name} is not one number"


def _problem(text: str, source: str, option: str | None) -> Problem:
    hint = "Choose a LoRA file (.safetensors) that was trained for a model of the same family."
    return Problem(f"{source} cannot be used: {text}", option, hint)
