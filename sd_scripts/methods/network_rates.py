"""Learning rates of a network: by part, by U-Net block, and higher for LoRA+'s upper factors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from torch import nn

from sd_scripts.methods.plans import Attachment
from sd_scripts.options.groups.optimizer import NetworkOptimizerOptions
from sd_scripts.options.network_arguments import NetworkArguments
from sd_scripts.weights.model_kinds import Owner

_TEXT: Final[tuple[Owner, ...]] = ("te1", "te2")


def rates_by_owner(
    optimizer: NetworkOptimizerOptions, num_text_encoders: int
) -> dict[Owner, float]:
    """Return the learning rate of each part; one `text_encoder_lr` counts for all encoders."""
    rates = {
        owner: optimizer.effective_text_encoder_lr(index)
        for index, owner in enumerate(_TEXT[:num_text_encoders])
    }
    return {**rates, "unet": optimizer.effective_unet_lr}


def network_groups(
    attachments: Sequence[Attachment], rates: Mapping[Owner, float], arguments: NetworkArguments
) -> list[dict[str, Any]]:
    """Return the optimizer's groups: `params`, `lr`, and `name` for logs.

    LoRA+ (Hayou et al. 2024) multiplies the rate of the upper factors by a ratio.
    """
    groups: list[dict[str, Any]] = []
    for name, owners in _parts(rates):
        rate = rates.get(owners[0], 0.0)
        members = [found for found in attachments if found.owner in owners]
        if rate <= 0:
            continue
        for block in dict.fromkeys(found.block for found in members):
            within = [found for found in members if found.block == block]
            title = name if block is None else f"{name}_block_{block}"
            rate_here = rate * within[0].rate_factor
            ratio = _plus_ratio(arguments, unet=name == "unet")
            groups += _with_plus(title, rate_here, ratio, within)
    return groups


def _parts(rates: Mapping[Owner, float]) -> Iterator[tuple[str, tuple[Owner, ...]]]:
    first, second = rates.get("te1", 0.0), rates.get("te2")
    if second is None or second == first:
        yield "text_encoder", _TEXT
    else:
        yield "text_encoder_1", ("te1",)
        yield "text_encoder_2", ("te2",)
    yield "unet", ("unet",)


def _plus_ratio(arguments: NetworkArguments, *, unet: bool) -> float | None:
    own = "loraplus_unet_lr_ratio" if unet else "loraplus_text_encoder_lr_ratio"
    return arguments.number(own) or arguments.number("loraplus_lr_ratio")


def _with_plus(
    name: str, rate: float, ratio: float | None, within: Sequence[Attachment]
) -> Iterator[dict[str, Any]]:
    plain: list[nn.Parameter] = []
    plus: list[nn.Parameter] = []
    for found in within:
        upper = {id(p) for p in found.layer.upper_parameters()} if ratio else set()
        for parameter in found.layer.parameters():
            if parameter.requires_grad:
                (plus if id(parameter) in upper else plain).append(parameter)
    if plain:
        yield {"params": plain, "lr": rate, "name": name}
    if plus and ratio:
        yield {"params": plus, "lr": rate * ratio, "name": f"{name}_plus"}
