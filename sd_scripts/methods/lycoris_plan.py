"""Which layers a LyCORIS network has, and how each is cut: from options, preset and start file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from torch import nn

from sd_scripts.dataset.words import some
from sd_scripts.errors import Problem, UserError, raise_if_errors
from sd_scripts.methods.lycoris_layers import LycorisShape
from sd_scripts.methods.lycoris_library import LibraryLayer, make_layer
from sd_scripts.methods.lycoris_presets import Layer, Preset, find_preset, with_settings
from sd_scripts.methods.lycoris_start import shape_from_file
from sd_scripts.methods.plans import Attachment, LayerPlan, start_from
from sd_scripts.options.groups.network import NetworkOptions
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.weights.model_kinds import FamilyName
from sd_scripts.weights.network_file import NetworkFile, read_network

_DEFAULT_RANK: Final = 4
_MOST_NAMED: Final = 3


class _Family(Protocol):
    @property
    def name(self) -> FamilyName: ...

    def network_layers(self, model: Any) -> Sequence[Layer]: ...


class LayerModel(Protocol):
    """What LyCORIS asks of a loaded model."""

    @property
    def family(self) -> _Family: ...


def plan_lycoris(job: TrainNetworkJob, model: LayerModel) -> LayerPlan:
    """Plan a LyCORIS network, its layers made and started from `network_weights`.

    Raises `UserError` with what does not fit the model, the preset or the file.
    """
    network = job.network
    file = None
    if network.network_weights is not None:
        file = read_network(network.network_weights, model.family.name, "network_weights")
    preset = find_preset(network.preset or "full")
    planned = list(_chosen(network, preset, model.family.network_layers(model)))
    if file is not None:
        planned = [
            (layer, shape_from_file(shape, parts, network) if parts else shape)
            for layer, shape in planned
            if (parts := file.modules.get(layer.name)) or not network.dim_from_weights
        ]
    layers, problems = _made(planned, job.training.seed or 0)
    raise_if_errors(problems)
    notes = [*_notes(network, layers, planned), *_alpha_notes(network, planned, file)]
    if file is not None:
        notes += start_from(layers, file, network)
    return LayerPlan(tuple(layers), tuple(notes))


def lycoris_shape(network: NetworkOptions, *, conv: bool = False) -> LycorisShape:
    """Return the settings that the options ask for; `conv` for convolutions larger than 1x1."""
    arguments = network.arguments
    rank = network.network_dim or _DEFAULT_RANK
    alpha = network.network_alpha
    if conv:
        rank = network.conv_dim or rank
        alpha = alpha if network.conv_alpha is None else network.conv_alpha or alpha
    dropout = arguments.number("dropout")
    tucker = ("use_tucker", "use_cp", "use_conv_cp")
    constraint = arguments.number("constraint") or arguments.number("constrain") or 0.0
    lengths = "rows" if arguments.flag("wd_on_output") else "columns"
    return LycorisShape(
        algo=network.algo or "lora",
        rank=rank,
        alpha=alpha,
        dropout=dropout if dropout is not None else network.network_dropout or 0.0,
        rank_dropout=network.rank_dropout or 0.0,
        rank_dropout_scale=arguments.flag("rank_dropout_scale"),
        module_dropout=network.module_dropout or 0.0,
        use_tucker=any(map(arguments.flag, tucker)) or not arguments.flag("disable_conv_cp"),
        use_scalar=arguments.flag("use_scalar"),
        rs_lora=arguments.flag("rs_lora"),
        dora=lengths if arguments.flag("dora_wd") else None,  # type: ignore[arg-type]
        factor=arguments.whole("factor") or -1,
        decompose_both=arguments.flag("decompose_both"),
        full_matrix=arguments.flag("full_matrix"),
        unbalanced_factorization=arguments.flag("unbalanced_factorization"),
        block_size=arguments.whole("block_size") or 4,
        constraint=constraint,
        rescaled=arguments.flag("rescaled"),
    )


def _chosen(
    network: NetworkOptions, preset: Preset, layers: Sequence[Layer]
) -> Iterator[tuple[Layer, LycorisShape]]:
    plain, conv = lycoris_shape(network), lycoris_shape(network, conv=True)
    norms = network.arguments.flag("train_norm")
    for layer in layers:
        on_side = network.trains_unet if layer.owner == "unet" else network.trains_text_encoder
        settings = preset.settings_of(layer) if on_side else None
        if settings is None:
            continue
        is_norm = isinstance(layer.module, nn.GroupNorm | nn.LayerNorm)
        spatial = isinstance(layer.module, nn.Conv2d) and layer.module.kernel_size[0] != 1
        if (is_norm and not norms) or (
            spatial and not preset.enable_conv and "dim" not in settings
        ):
            continue
        shape = with_settings(conv if spatial else plain, settings)
        yield layer, replace(shape, dora=None) if is_norm else _only_what_it_has(shape)


def _only_what_it_has(shape: LycorisShape) -> LycorisShape:
    """Drop DoRA where the algorithm has none, as a preset may choose several."""
    has_dora = shape.algo in ("lora", "locon", "loha", "lokr")
    return shape if has_dora else replace(shape, dora=None)


def _made(
    planned: Sequence[tuple[Layer, LycorisShape]], seed: int
) -> tuple[list[Attachment], list[Problem]]:
    """Make the layers; what the algorithm cannot cut is told at once, with a few names."""
    made: list[Attachment] = []
    wrong: dict[str, list[str]] = {}
    for layer, shape in planned:
        try:
            made.append(Attachment(layer.owner, make_layer(layer.name, layer.module, shape, seed)))
        except (ValueError, TypeError, AssertionError) as error:
            wrong.setdefault(f"{shape.algo} with rank {shape.rank}", []).append(layer.name)
            wrong[f"{shape.algo} with rank {shape.rank}"].append(str(error))
    problems = [
        Problem(
            f"{what} cannot be attached to {len(told) // 2} layers, for instance "
            f"{told[0]}: {told[1]}",
            "algo, network_dim",
            "For boft, choose a rank that, as 10, 16 or 20, divides the layers' outputs into a "
            "power of two; for dylora a multiple of block_size; or leave layers out by a preset.",
        )
        for what, told in wrong.items()
    ]
    return made, problems


def _notes(
    network: NetworkOptions,
    layers: Sequence[Attachment],
    planned: Sequence[tuple[Layer, LycorisShape]],
) -> Iterator[Problem]:
    whole = [
        found.layer.name
        for found in layers
        if isinstance(found.layer, LibraryLayer) and found.layer.holds_factor_whole
    ]
    if whole:
        yield Problem(
            f"In {len(whole)} layers the rank is at least half of LoKr's large factor, which is "
            f"then kept whole and the alpha has no effect: {some(whole, _MOST_NAMED)}",
            "network_dim, algo",
            "Nothing has to be done; a smaller rank makes a smaller file.",
            "warning",
        )
    if not planned:
        raise UserError(
            "The preset chooses no layer of this model that the job trains",
            option="preset",
            hint="Choose another preset, or correct the names in its file.",
        )
    del network


def _alpha_notes(
    network: NetworkOptions,
    planned: Sequence[tuple[Layer, LycorisShape]],
    file: NetworkFile | None,
) -> Iterator[Problem]:
    """Alphas of a file are kept, since they are part of what it does."""
    if file is None or network.dim_from_weights:
        return
    asked = {network.network_alpha, network.conv_alpha}
    other = [s.alpha for layer, s in planned if layer.name in file.modules]
    kept = [alpha for alpha in other if alpha not in asked]
    if kept and network.network_alpha:
        yield Problem(
            f"{len(kept)} modules keep the alpha of the file ({kept[0]:g}), not the option's "
            f"({network.network_alpha:g}): it is part of what they do",
            "network_weights, network_alpha",
            None,
            "warning",
        )
