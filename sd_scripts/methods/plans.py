"""What planning a network gives: its layers, each with its part of the model, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sd_scripts.dataset.words import some
from sd_scripts.errors import Problem, raise_if_errors
from sd_scripts.methods.layer import NetworkLayer
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.weights.model_kinds import Owner
from sd_scripts.weights.network_file import NetworkFile

_MOST_NAMED: Final = 3


@dataclass(frozen=True)
class Attachment:
    """One layer, the part of the model it belongs to and the factor on that part's rate.

    `block` is the U-Net block that has the factor, None where rates are of whole parts.
    """

    owner: Owner
    layer: NetworkLayer
    rate_factor: float = 1.0
    block: int | None = None


@dataclass(frozen=True)
class LayerPlan:
    """The layers in the file's order, text encoders first, and what the user should know."""

    layers: tuple[Attachment, ...]
    warnings: tuple[Problem, ...] = ()


def start_from(
    layers: Sequence[Attachment], file: NetworkFile, network: NetworkOptions
) -> list[Problem]:
    """Let layers take what a file has for them; returns warnings.

    Raises `UserError` with what does not fit: other shapes, or weights that have no place here.
    """
    by_name = {found.layer.name: found.layer for found in layers}
    wrong = {
        name: text
        for name, layer in by_name.items()
        if name in file.modules and (text := layer.misfit(file.modules[name]))
    }
    problems = list(_wrong(wrong))
    problems += _left_over(by_name, file, network)
    fresh = [name for name in by_name if name not in file.modules]
    if len(fresh) == len(by_name):
        problems.append(
            Problem(
                "Nothing in the network's file belongs to what this job trains; it has "
                f"{some(list(file.modules), _MOST_NAMED)}",
                "network_weights",
                "Choose a file of the same kind and family, with the parts that are trained.",
            )
        )
    elif fresh:
        problems.append(
            Problem(
                f"{len(fresh)} modules are not in the network's file and start from nothing, for "
                f"instance {fresh[0]}",
                "network_weights",
                None,
                "warning",
            )
        )
    raise_if_errors(problems)
    for name, layer in by_name.items():
        if name in file.modules:
            layer.take(file.modules[name])
    return problems


def _wrong(wrong: Mapping[str, str]) -> Iterator[Problem]:
    if wrong:
        told = [f"{name} {text}" for name, text in wrong.items()]
        yield Problem(
            f"The network's file does not fit: {some(told, _MOST_NAMED, '; ')}",
            "network_weights, network_dim, network_args",
            "Use the settings that it was trained with, and a model of the same family.",
        )


def _left_over(
    layers: Mapping[str, NetworkLayer], file: NetworkFile, network: NetworkOptions
) -> Iterator[Problem]:
    rest = [name for name in file.modules if name not in layers]
    off_side = [name for name in rest if is_off_side(name, network)]
    strange = [*(name for name in rest if name not in off_side), *file.unknown]
    if off_side:
        yield left_out_by_side(off_side, network)
    if strange:
        yield Problem(
            "The network's file has weights that this job has no place for: "
            f"{some(strange, _MOST_NAMED)}",
            "network_weights, network_args",
            "Use the settings that it was trained with, and a model of the same family.",
        )


def is_off_side(name: str, network: NetworkOptions) -> bool:
    """Tell if a module of a file belongs to a part that this job leaves out."""
    if name.startswith(("lora_unet_", "oft_unet_")):
        return not network.trains_unet
    return name.startswith("lora_te") and not network.trains_text_encoder


def left_out_by_side(names: Sequence[str], network: NetworkOptions) -> Problem:
    """The warning that a file's modules are left out since their part is."""
    other = "unet" if network.trains_unet else "text_encoder"
    option = f"network_train_{other}_only"
    return Problem(
        f"{len(names)} modules of the LoRA file are left out by {option}, for instance "
        f"{names[0]}; they will not be in the new file",
        f"network_weights, {option}",
        None,
        "warning",
    )
