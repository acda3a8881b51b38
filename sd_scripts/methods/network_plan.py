"""Which layers of a model get a LoRA layer, and of what rank: from the options, or from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import nn

from sd_scripts.dataset.words import some
from sd_scripts.errors import Problem, raise_if_errors
from sd_scripts.methods.blocks import Blocks
from sd_scripts.methods.lora_layers import LoraShape, factor_shapes
from sd_scripts.methods.plans import is_off_side, left_out_by_side
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.weights.lora_load import LoraFile, LoraModule, as_shape
from sd_scripts.weights.model_kinds import Owner

DEFAULT_RANK = 4
_MOST_NAMED = 3


class Target(Protocol):
    """A Linear or Conv2d of the model that can get a LoRA layer, under its kohya name.

    `is_conv3x3_group` marks what lies under ResNet blocks and samplers: trained only with
    `conv_dim`, its 3x3 convolutions with that rank, its Linears and 1x1 convolutions with
    `network_dim`.
    """

    @property
    def name(self) -> str: ...
    @property
    def owner(self) -> Owner: ...
    @property
    def module(self) -> nn.Module: ...
    @property
    def is_conv3x3_group(self) -> bool: ...


@dataclass(frozen=True)
class PlannedLayer:
    """One layer to come: its target, rank and alpha, and the weights it starts from, if any."""

    target: Target
    shape: LoraShape
    start: LoraModule | None = None


@dataclass(frozen=True)
class NetworkPlan:
    """The layers in the order of the targets, and what the user should know (warnings)."""

    layers: tuple[PlannedLayer, ...]
    warnings: tuple[Problem, ...] = ()


def plan_network(
    network: NetworkOptions,
    targets: Sequence[Target],
    blocks: Blocks,
    start: LoraFile | None = None,
) -> NetworkPlan:
    """Decide the layers; `start` is the file that `network_weights` names.

    With `dim_from_weights`, exactly the file's modules are trained, with the file's ranks and
    alphas. Else ranks come from the options, and a start file must have the same; its alphas are
    kept (with a warning if the options say otherwise), since they are part of what it does.
    Raises `UserError` with every mismatch between file, options and model.
    """
    wanted = [target for target in targets if _is_on_side(target, network)]
    if start is None:
        return NetworkPlan(tuple(_by_options(wanted, network, blocks)))
    if network.dim_from_weights:
        layers = [
            PlannedLayer(target, _shape_of(start.modules[target.name], network), found)
            for target in wanted
            if (found := start.modules.get(target.name))
        ]
    else:
        layers = [_started(layer, start) for layer in _by_options(wanted, network, blocks)]
    problems = [*_misfits(layers), *_left_over(layers, targets, network, start)]
    problems += _dora_problems(layers, network)
    if not network.dim_from_weights:
        problems += _alpha_notes(layers, network, blocks)
    problems += _fresh_notes(layers, start)
    raise_if_errors(problems)
    return NetworkPlan(tuple(layers), tuple(problems))


def _is_on_side(target: Target, network: NetworkOptions) -> bool:
    if target.owner == "unet":
        return network.trains_unet
    return network.trains_text_encoder


def _is_spatial(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)


def _by_options(
    targets: Sequence[Target], network: NetworkOptions, blocks: Blocks
) -> Iterator[PlannedLayer]:
    rank = DEFAULT_RANK if network.network_dim is None else network.network_dim
    plain = _shape(network, rank, network.network_alpha)
    conv = None
    if network.conv_dim is not None:
        conv_alpha = 1.0 if network.conv_alpha is None else network.conv_alpha
        conv = _shape(network, network.conv_dim, conv_alpha)
    has_conv = conv is not None or blocks.conv_ranks is not None
    for target in targets:
        if target.is_conv3x3_group and not has_conv:
            continue
        spatial = _is_spatial(target.module)
        shape = _of_block(conv if spatial else plain, spatial, target.name, network, blocks)
        if shape is not None:
            yield PlannedLayer(target, shape)


def _of_block(
    shape: LoraShape | None, spatial: bool, name: str, network: NetworkOptions, blocks: Blocks
) -> LoraShape | None:
    """Return a layer's shape with what its block says; None if its block has no network."""
    place = blocks.place(name)
    if place is None:
        return shape
    if blocks.factors is not None and blocks.factors[place] == 0:
        return None
    ranks = blocks.conv_ranks if spatial else blocks.ranks
    alphas = blocks.conv_alphas if spatial else blocks.alphas
    if ranks is not None:
        alpha = network.network_alpha
        if spatial:
            alpha = 1.0 if network.conv_alpha is None else network.conv_alpha
        shape = _shape(network, ranks[place], alpha) if ranks[place] else None
    if shape is None or alphas is None:
        return shape
    return replace(shape, alpha=alphas[place] or float(shape.rank))


def _shape(network: NetworkOptions, rank: int, alpha: float) -> LoraShape:
    return LoraShape(
        rank,
        alpha or float(rank),
        network.network_dropout or 0.0,
        network.rank_dropout or 0.0,
        network.module_dropout or 0.0,
    )


def _shape_of(module: LoraModule, network: NetworkOptions) -> LoraShape:
    return _shape(network, module.rank, module.alpha)


def _started(layer: PlannedLayer, start: LoraFile) -> PlannedLayer:
    found = start.modules.get(layer.target.name)
    if found is None:
        return layer
    return PlannedLayer(layer.target, replace(layer.shape, alpha=found.alpha), found)


def _misfits(layers: Sequence[PlannedLayer]) -> Iterator[Problem]:
    """One problem for other ranks, one for other sizes; each names a few modules."""
    ranks, sizes = [], []
    for layer in layers:
        if layer.start is None:
            continue
        name = layer.target.name
        if layer.start.rank != layer.shape.rank:
            ranks.append(f"{name} has {layer.start.rank}, the options say {layer.shape.rank}")
        elif not fits(layer.start, layer.target.module):
            sizes.append(name)
    if ranks:
        yield Problem(
            f"The LoRA file has other ranks: {some(ranks, _MOST_NAMED, '; ')}",
            "network_weights, network_dim",
            "Set dim_from_weights to take the ranks from the file, or set the file's rank.",
        )
    if sizes:
        yield Problem(
            "The LoRA file was made for another model: the sizes of "
            f"{some(sizes, _MOST_NAMED)} differ",
            "network_weights, pretrained_model_name_or_path",
            "Choose a LoRA of the same family as the model.",
        )


def fits(module: LoraModule, base: nn.Module) -> bool:
    """Tell whether a file's factors belong to `base`, 1x1 axes aside."""
    assert isinstance(base, nn.Linear | nn.Conv2d)
    down, up = factor_shapes(base, module.rank)
    return (
        as_shape(module.down, tuple(down)) is not None
        and as_shape(module.up, tuple(up)) is not None
    )


def _left_over(
    layers: Sequence[PlannedLayer],
    targets: Sequence[Target],
    network: NetworkOptions,
    start: LoraFile,
) -> Iterator[Problem]:
    """What the file has and this job would not train, and so would not save either."""
    known: Mapping[str, Target] = {target.name: target for target in targets}
    used = {layer.target.name for layer in layers}
    rest = [name for name in start.modules if name not in used]
    off_side = [name for name in rest if is_off_side(name, network)]
    strange = [name for name in rest if name not in known and name not in off_side]
    conv = [name for name in rest if name in known and name not in off_side]
    if off_side:
        yield left_out_by_side(off_side, network)
    if conv:
        yield Problem(
            f"The LoRA file also trains convolutions, for instance {conv[0]}",
            "network_weights, conv_dim",
            "Set conv_dim to the file's rank for them, or set dim_from_weights.",
        )
    if strange or start.unknown:
        yield Problem(
            "The LoRA file has weights that this model or network has no place for: "
            f"{some([*strange, *start.unknown], _MOST_NAMED)}",
            "network_weights",
            "Choose a plain LoRA of the same family as the model.",
        )


def _dora_problems(layers: Sequence[PlannedLayer], network: NetworkOptions) -> Iterator[Problem]:
    wanted = network.arguments.flag("dora_wd")
    if any(layer.start and (layer.start.dora is None) is wanted for layer in layers):
        yield Problem(
            f"The LoRA file is {'no' if wanted else 'a'} DoRA",
            "network_weights, network_args",
            f"{'Take dora_wd out' if wanted else 'Add dora_wd=True'}, or choose another file.",
        )


def _alpha_notes(
    layers: Sequence[PlannedLayer], network: NetworkOptions, blocks: Blocks
) -> Iterator[Problem]:
    asked = _by_options([layer.target for layer in layers], network, blocks)
    pairs = zip(layers, asked, strict=True)
    other = [
        (ours.shape.alpha, told.shape.alpha) for ours, told in pairs if ours.shape != told.shape
    ]
    if other:
        yield Problem(
            f"{len(other)} modules keep the alpha of the LoRA file ({other[0][0]:g}), not the "
            f"option's ({other[0][1]:g}): it is part of what they do",
            "network_weights, network_alpha",
            None,
            "warning",
        )


def _fresh_notes(layers: Sequence[PlannedLayer], start: LoraFile) -> Iterator[Problem]:
    fresh = [layer.target.name for layer in layers if layer.start is None]
    if len(fresh) == len(layers):
        yield Problem(
            "Nothing in the LoRA file belongs to what this job trains; the file has "
            f"{some(list(start.modules), _MOST_NAMED)}",
            "network_weights",
            "Choose a LoRA of the same family as the model, with the parts that are trained.",
        )
    elif fresh:
        yield Problem(
            f"{len(fresh)} modules are not in the LoRA file and start from nothing, for instance "
            f"{fresh[0]}",
            "network_weights",
            None,
            "warning",
        )
