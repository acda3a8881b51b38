"""Networks that are merged into the base before training (`base_weights`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sd_scripts.dataset.words import some
from sd_scripts.errors import Problem, UserError, raise_if_errors
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.weights.model_kinds import FamilyName
from sd_scripts.weights.network_difference import Difference, difference
from sd_scripts.weights.network_file import NetworkFile, read_network

_MOST_NAMED = 3


class _Layer(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def module(self) -> nn.Module: ...


class _Family(Protocol):
    @property
    def name(self) -> FamilyName: ...

    def network_layers(self, model: Any) -> Sequence[_Layer]: ...


class MergeModel(Protocol):
    """What merging asks of a loaded model."""

    @property
    def family(self) -> _Family: ...
    @property
    def text_encoders(self) -> Sequence[nn.Module]: ...


def merge_base_weights(network: NetworkOptions, model: MergeModel) -> list[Problem]:
    """Add what the files of `base_weights` change, each by its strength, to the model's weights.

    Sums are made in float32 and rounded once. A model without memory ("meta") is only checked.
    Returns warnings; raises `UserError` with every file that cannot be merged.
    """
    if not network.base_weights:
        return []
    modules = {layer.name: layer.module for layer in model.family.network_layers(model)}
    problems: list[Problem] = []
    files: list[tuple[NetworkFile, float]] = []
    strengths = (*network.base_weights_multiplier, *[1.0] * len(network.base_weights))
    for path, strength in zip(network.base_weights, strengths, strict=False):
        try:
            found = read_network(path, model.family.name, "base_weights")
        except UserError as error:
            problems += error.problems
            continue
        files.append((found, strength))
        problems += misplaced(found, Path(path).name, modules, has_text=bool(model.text_encoders))
    raise_if_errors(problems)
    for name, module in modules.items():
        given = [(parts, s) for f, s in files if (parts := parts_for(f, name))]
        if given and _weight(module).device.type != "meta":
            try:
                merge_into(module, given)
            except (ValueError, RuntimeError) as error:
                raise UserError(
                    f"A file of base_weights does not fit the model at {name}: {error}",
                    option="base_weights, pretrained_model_name_or_path",
                    hint="Choose files of the same family as the model.",
                ) from error
    return problems


def parts_for(file: NetworkFile, name: str) -> Mapping[str, Tensor] | None:
    """Return what a file has for the module of that kohya name."""
    return file.modules.get(name) or file.modules.get(name.replace("lora_unet_", "oft_unet_", 1))


def _weight(module: nn.Module) -> Tensor:
    assert isinstance(module.weight, Tensor)
    return module.weight


@torch.no_grad()
def merge_into(module: nn.Module, given: Sequence[tuple[Mapping[str, Tensor], float]]) -> None:
    """Add to a module what tensors of networks change in it, each by its strength.

    The sum is made in float32 and rounded once. Raises `ValueError` or `RuntimeError` if they do
    not fit.
    """
    weight = _weight(module)
    total = weight.float()
    bias = module.bias.float() if isinstance(module.bias, Tensor) else None
    for parts, strength in given:
        on_device = {key: tensor.to(weight.device) for key, tensor in parts.items()}
        found: Difference | None = difference(on_device, weight)
        if found is None:
            raise ValueError(f"unknown tensors {', '.join(parts)}")
        total = total + found.weight * strength
        if found.bias is not None and bias is not None:
            bias = bias + found.bias * strength
    weight.copy_(total)
    if isinstance(module.bias, Tensor) and bias is not None:
        module.bias.copy_(bias)


def misplaced(
    file: NetworkFile,
    source: str,
    modules: Mapping[str, nn.Module],
    option: str = "base_weights",
    *,
    has_text: bool,
) -> list[Problem]:
    """Tell what of a file the model has no place for: a warning, or an error if it is all."""
    names = {name.replace("oft_unet_", "lora_unet_", 1): name for name in file.modules}
    strange = [shown for name, shown in names.items() if name not in modules]
    if not has_text and any(name.startswith("lora_te") for name in strange):
        return [
            Problem(
                f"{source} changes the text encoder, so captions cannot be cached before it is "
                "merged",
                "base_weights, cache_text_encoder_outputs",
                "Switch cache_text_encoder_outputs off.",
            )
        ]
    strange += file.unknown
    if not strange:
        return []
    nothing = len(strange) >= len(file.modules)
    return [
        Problem(
            f"{source} has weights that the model has no place for: {some(strange, _MOST_NAMED)}",
            option,
            "Choose files of the same family as the model." if nothing else None,
            "error" if nothing else "warning",
        )
    ]
