"""The kinds of networks by their module's name: each plans its layers for a job and a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from torch import nn

from sd_scripts.dataset.words import some
from sd_scripts.errors import Problem, UserError, raise_if_errors
from sd_scripts.methods.blocks import Blocks
from sd_scripts.methods.dylora_layers import DyLoraLayer
from sd_scripts.methods.lora_layers import LoraLayer
from sd_scripts.methods.lycoris_plan import plan_lycoris
from sd_scripts.methods.lycoris_presets import Layer
from sd_scripts.methods.network_plan import DEFAULT_RANK, PlannedLayer, Target, plan_network
from sd_scripts.methods.oft_layers import OftLayer
from sd_scripts.methods.plans import Attachment, LayerPlan, start_from
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.network_table import NetworkName
from sd_scripts.weights.lora_load import read_lora
from sd_scripts.weights.model_kinds import FamilyName
from sd_scripts.weights.network_file import read_network

_CONV_BLOCKS: Final = frozenset(("ResnetBlock2D", "Downsample2D", "Upsample2D"))


class TargetFamily(Protocol):
    """What a network asks of a model family: its name and the layers that can be trained."""

    @property
    def name(self) -> FamilyName: ...

    def network_targets(self, model: Any) -> Sequence[Target]: ...

    def network_layers(self, model: Any) -> Sequence[Layer]: ...


class TargetModel(Protocol):
    """What a network asks of a loaded model."""

    @property
    def family(self) -> TargetFamily: ...
    @property
    def unet(self) -> nn.Module: ...
    @property
    def text_encoders(self) -> Sequence[nn.Module]: ...


def plan_lora(job: TrainNetworkJob, model: TargetModel) -> LayerPlan:
    """Plan LoRA, LoRA-FA or DyLoRA. Raises `UserError` with what does not fit."""
    network, family = job.network, model.family
    start = None
    if network.network_weights is not None:
        start = read_lora(network.network_weights, family.name, "network_weights")
    blocks = Blocks.of(network, family.name)
    plan = plan_network(network, family.network_targets(model), blocks, start)
    raise_if_errors(_units(plan.layers, network.arguments.whole("unit") or 1))
    found = []
    for planned in plan.layers:
        owner, name = planned.target.owner, planned.target.name
        factor, place = blocks.factor(name), None
        if blocks.factors is not None and owner == "unet":
            place = blocks.place(name)
        found.append(Attachment(owner, _build(planned, job), factor, place))
    return LayerPlan(tuple(found), plan.warnings)


def _units(layers: Sequence[PlannedLayer], unit: int) -> list[Problem]:
    wrong = sorted({layer.shape.rank for layer in layers if layer.shape.rank % unit})
    if not wrong:
        return []
    return [
        Problem(
            f"The rank {wrong[0]} of the LoRA file is no multiple of unit {unit}",
            "network_args, network_weights",
            "Set unit to 1, or to a number that divides the rank.",
        )
    ]


def _build(planned: PlannedLayer, job: TrainNetworkJob) -> LoraLayer:
    seed, arguments = job.training.seed or 0, job.network.arguments
    where = (planned.target.name, planned.target.module, planned.shape, seed)
    layer: LoraLayer
    match job.network.network_module:
        case "networks.dylora":
            layer = DyLoraLayer(*where, unit=arguments.whole("unit") or 1)
        case "networks.lora_fa":
            layer = LoraLayer(*where, frozen_down=True)
        case _:
            layer = LoraLayer(*where, dora="rows" if arguments.flag("dora_wd") else None)
    if (start := planned.start) is not None:
        tensors = {"lora_down.weight": start.down, "lora_up.weight": start.up}
        layer.take(tensors if start.dora is None else {**tensors, "dora_scale": start.dora})
    return layer


def plan_oft(job: TrainNetworkJob, model: TargetModel) -> LayerPlan:
    """Plan OFT: attention's Linears of the U-Net, or more. Raises `UserError`."""
    network, arguments = job.network, job.network.arguments
    parts = DEFAULT_RANK if network.network_dim is None else network.network_dim
    classes = {"Transformer2DModel"} if arguments.flag("enable_all_linear") else {"Attention"}
    if arguments.flag("enable_conv"):
        classes |= {"Transformer2DModel", *_CONV_BLOCKS}
    chosen = [
        layer
        for layer in model.family.network_layers(model)
        if layer.owner == "unet"
        and isinstance(layer.module, nn.Linear | nn.Conv2d)
        and classes.intersection(layer.within)
    ]
    if uneven := [layer.name for layer in chosen if _outputs(layer.module) % parts]:
        raise UserError(
            f"The outputs of {some(uneven, 3)} cannot be cut into {parts} blocks",
            option="network_dim",
            hint="Choose a power of two, such as 4 or 8.",
        )
    layers = tuple(
        Attachment(
            "unet",
            OftLayer(
                layer.name.replace("lora_unet_", "oft_unet_", 1),
                layer.module,
                parts,
                network.network_alpha,
            ),
        )
        for layer in chosen
    )
    if network.network_weights is None:
        return LayerPlan(layers)
    file = read_network(network.network_weights, model.family.name, "network_weights")
    return LayerPlan(layers, tuple(start_from(layers, file, network)))


def _outputs(module: nn.Module) -> int:
    assert isinstance(module, nn.Linear | nn.Conv2d)
    return module.weight.shape[0]


NETWORK_KINDS: Final[Mapping[NetworkName, Callable[[TrainNetworkJob, Any], LayerPlan]]] = {
    "networks.lora": plan_lora,
    "networks.lora_fa": plan_lora,
    "networks.dylora": plan_lora,
    "networks.oft": plan_oft,
    "lycoris.kohya": plan_lycoris,
}
