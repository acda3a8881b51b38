"""The LoRA method: layers on the model, their learning rates, and the file that comes out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from sd_scripts.errors import Problem, UserError
from sd_scripts.methods.lora_layers import LoraLayer
from sd_scripts.methods.network_plan import PlannedLayer, Target, fits, plan_network
from sd_scripts.options.groups.optimizer import NetworkOptimizerOptions
from sd_scripts.options.jobs import TrainingJob, TrainNetworkJob
from sd_scripts.weights.files import save_tensors
from sd_scripts.weights.hashes import tensor_hashes
from sd_scripts.weights.lora_load import LoraFile, LoraModule, as_shape, read_lora
from sd_scripts.weights.metadata import SaveFacts, TrainingFacts, build_metadata
from sd_scripts.weights.model_kinds import FamilyName, Owner

OWNERS: Final[tuple[Owner, ...]] = ("te1", "te2", "unet")


class TargetFamily(Protocol):
    """What the method asks of a model family: its name and the layers that can be trained."""

    @property
    def name(self) -> FamilyName: ...

    def network_targets(self, model: Any) -> Sequence[Target]: ...


class TargetModel(Protocol):
    """What the method asks of a loaded model."""

    @property
    def family(self) -> TargetFamily: ...
    @property
    def unet(self) -> nn.Module: ...
    @property
    def text_encoders(self) -> Sequence[nn.Module]: ...


class NetworkMethod:
    """A LoRA attached to a model: the base is frozen, the layers learn.

    The layers' forward goes through the model's own modules from construction to `detach`.
    `trainable_modules` holds them by kohya name, text encoders first: its state dict has the names
    and order of the saved file, its dtypes are those in memory. A part whose learning rate is 0
    keeps its layers (untrained or as `network_weights` has them) and they are saved, as in
    sd-scripts; they are frozen and in no parameter group. With `network_train_unet_only` or
    `network_train_text_encoder_only` the other part has no layers and nothing of it is saved.

    Raises `UserError` with every problem of `network_weights`, and if nothing is left to train.
    """

    def __init__(self, job: TrainNetworkJob, model: TargetModel) -> None:
        network = job.network
        family = model.family
        _freeze(model)
        start = None
        if network.network_weights is not None:
            start = read_lora(network.network_weights, family.name, "network_weights")
        plan = plan_network(network, family.network_targets(model), start)
        self.warnings: tuple[Problem, ...] = plan.warnings
        self._family = family.name
        self._owners: dict[str, Owner] = {
            layer.target.name: layer.target.owner for layer in plan.layers
        }
        seed = job.training.seed or 0
        self._layers = {item.target.name: _build(item, seed) for item in plan.layers}
        self.trainable_modules = nn.ModuleDict(self._layers)
        self._rates = rates_by_owner(job.optimizer, len(model.text_encoders))
        for name, layer in self._layers.items():
            layer.requires_grad_(self._rates[self._owners[name]] > 0)
        if not any(self._learns(name) for name in self._layers):
            raise _nothing_to_train()
        if job.performance.full_fp16 or job.performance.full_bf16:
            self._cast(torch.float16 if job.performance.full_fp16 else torch.bfloat16)
        for layer in self._layers.values():
            layer.attach()

    def _learns(self, name: str) -> bool:
        return self._layers[name].lora_up.weight.requires_grad

    def _cast(self, dtype: torch.dtype) -> None:
        """Cast the factors; alphas stay exact."""
        for parameter in self.trainable_modules.parameters():
            parameter.data = parameter.data.to(dtype)

    @property
    def num_modules(self) -> dict[str, int]:
        """Number of layers by part ("te1", "te2", "unet"), parts without layers left out."""
        owners = list(self._owners.values())
        return {owner: owners.count(owner) for owner in OWNERS if owner in owners}

    @property
    def num_parameters(self) -> int:
        """How many numbers learn."""
        return sum(p.numel() for p in self.trainable_modules.parameters() if p.requires_grad)

    @property
    def trains_text_encoder(self) -> bool:
        """Whether any layer of a text encoder learns."""
        return any(self._learns(name) for name in self._names("te1", "te2"))

    @property
    def rank_and_alpha(self) -> tuple[str, str]:
        """Rank and alpha as metadata tells them: of Linears and 1x1s; "Dynamic" if they differ."""
        shapes = [
            layer.shape
            for layer in self._layers.values()
            if not isinstance(layer.base, nn.Conv2d) or layer.base.kernel_size == (1, 1)
        ]
        ranks, alphas = {shape.rank for shape in shapes}, {shape.alpha for shape in shapes}
        rank = str(ranks.pop()) if len(ranks) == 1 else "Dynamic"
        return rank, str(alphas.pop()) if len(alphas) == 1 else "Dynamic"

    def _names(self, *owners: Owner) -> Iterator[str]:
        return (name for name, owner in self._owners.items() if owner in owners)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimizer's groups: `params`, `lr`, and `name` for logs.

        One group "text_encoder" if its encoders have one rate, else "text_encoder_1" and
        "text_encoder_2"; then "unet". A part with rate 0 has no group.
        """
        first, second = self._rates.get("te1", 0.0), self._rates.get("te2")
        if second is None or second == first:
            parts: list[tuple[str, tuple[Owner, ...]]] = [("text_encoder", ("te1", "te2"))]
        else:
            parts = [("text_encoder_1", ("te1",)), ("text_encoder_2", ("te2",))]
        groups = []
        for group, owners in [*parts, ("unet", ("unet",))]:
            rate = self._rates.get(owners[0], 0.0)
            names = list(self._names(*owners)) if rate > 0 else []
            params = [p for name in names for p in self._layers[name].parameters()]
            if params:
                groups.append({"params": params, "lr": rate, "name": group})
        return groups

    def set_training(self) -> None:
        """Put the layers into training mode (dropout acts)."""
        self.trainable_modules.train()

    @contextmanager
    def multiplied(self, multiplier: float) -> Iterator[None]:
        """Scale what the LoRA adds; with 0 the model gives exactly what its base gives."""
        before = {name: layer.multiplier for name, layer in self._layers.items()}
        for layer in self._layers.values():
            layer.multiplier = multiplier
        try:
            yield
        finally:
            for name, layer in self._layers.items():
                layer.multiplier = before[name]

    def after_step(self, step: int) -> None:
        """Nothing is due."""

    def file_metadata(
        self, job: TrainingJob, facts: TrainingFacts, save: SaveFacts
    ) -> dict[str, str]:
        """Return sd-scripts' `ss_` entries and modelspec's."""
        rank, alpha = self.rank_and_alpha
        return build_metadata(job, facts, save, {"ss_network_dim": rank, "ss_network_alpha": alpha})

    def detach(self) -> None:
        """Take the layers off the model, which then is exactly the base again."""
        for layer in self._layers.values():
            layer.detach()

    def export_state_dict(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Return the file's tensors on the CPU: by module `alpha`, down, up; text encoders first.

        With `dtype` all of them are cast to it, alphas too; without, factors are as in memory.
        """
        state = self.trainable_modules.state_dict()
        return {
            key: tensor.detach().to("cpu", dtype or tensor.dtype, copy=True).contiguous()
            for key, tensor in state.items()
        }

    def save(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
    ) -> None:
        """Write the LoRA file atomically, in the format of its ending, with hashes added.

        Only `.safetensors` has room for `metadata`. Raises `OSError` if it cannot be written; what
        was at `path` is then still there.
        """
        state = self.export_state_dict(dtype)
        if Path(path).suffix != ".safetensors":
            save_tensors(state, path)
            return
        hashes = tensor_hashes(state, metadata)
        found = {"sshs_model_hash": hashes.model, "sshs_legacy_hash": hashes.legacy}
        save_tensors(state, path, {**metadata, **found})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take weights from a LoRA file of exactly these modules, ranks and alphas.

        Raises `UserError` if the file is another network's.
        """
        self._take(read_lora(path, self._family), Path(path).name)

    def _take(self, file: LoraFile, source: str) -> None:
        different = set(file.modules) ^ set(self._layers)
        different |= {
            name
            for name, layer in self._layers.items()
            if name in file.modules and not _is_same(layer, file.modules[name])
        }
        if different:
            raise UserError(
                f"{source} is of another network: {min(different)} and "
                f"{len(different) - 1} more modules differ",
                hint="Use the settings it was trained with.",
            )
        for name, layer in self._layers.items():
            _copy_factors(layer, file.modules[name])


def rates_by_owner(
    optimizer: NetworkOptimizerOptions, num_text_encoders: int
) -> dict[Owner, float]:
    """Return the learning rate of each part; one `text_encoder_lr` counts for all encoders."""
    owners: tuple[Owner, ...] = ("te1", "te2")
    rates = {
        owner: optimizer.effective_text_encoder_lr(index)
        for index, owner in enumerate(owners[:num_text_encoders])
    }
    return {**rates, "unet": optimizer.effective_unet_lr}


def _freeze(model: TargetModel) -> None:
    for module in (model.unet, *model.text_encoders):
        module.requires_grad_(False)


def _build(planned: PlannedLayer, seed: int) -> LoraLayer:
    layer = LoraLayer(planned.target.name, planned.target.module, planned.shape, seed)
    if planned.start is not None:
        _copy_factors(layer, planned.start)
    return layer


def _copy_factors(layer: LoraLayer, source: LoraModule) -> None:
    for factor, tensor in ((layer.lora_down, source.down), (layer.lora_up, source.up)):
        fitting = as_shape(tensor, factor.weight.shape)
        assert fitting is not None, f"{layer.name}: sizes were not checked"
        with torch.no_grad():
            factor.weight.copy_(fitting)


def _is_same(layer: LoraLayer, module: LoraModule) -> bool:
    same = (module.rank, module.alpha) == (layer.shape.rank, layer.shape.alpha)
    return same and fits(module, layer.base)


def _nothing_to_train() -> UserError:
    return UserError(
        "Nothing would be trained: every part is switched off or has the learning rate 0",
        option="learning_rate, unet_lr, text_encoder_lr",
        hint="Give the U-Net or the text encoder a learning rate above 0.",
    )
