"""The network method: layers on the model, their learning rates, and the file that comes out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from sd_scripts.errors import Problem, UserError
from sd_scripts.methods.base_weights import merge_base_weights
from sd_scripts.methods.network_kinds import NETWORK_KINDS, TargetModel
from sd_scripts.methods.network_rates import network_groups, rates_by_owner
from sd_scripts.methods.quantised_base import quantise_base
from sd_scripts.options.jobs import TrainingJob, TrainNetworkJob
from sd_scripts.weights.files import save_tensors
from sd_scripts.weights.hashes import lycoris_hash, tensor_hashes
from sd_scripts.weights.metadata import SaveFacts, TrainingFacts, build_metadata
from sd_scripts.weights.model_kinds import Owner
from sd_scripts.weights.network_file import NetworkFile, read_network

OWNERS: Final[tuple[Owner, ...]] = ("te1", "te2", "unet")
_OWN_DIM_MODULES: Final = ("networks.oft", "lycoris.kohya")


class NetworkMethod:
    """A network (LoRA, LyCORIS and others) on a model: the base is frozen, the layers learn.

    The layers' forward goes through the model's own modules from construction to `detach`.
    `trainable_modules` holds them by kohya name, text encoders first: its state dict is what a
    state keeps, its dtypes are those in memory. A part whose learning rate is 0
    keeps its layers (untrained or as `network_weights` has them) and they are saved, as in
    sd-scripts; they are frozen and in no parameter group. With `network_train_unet_only` or
    `network_train_text_encoder_only` the other part has no layers and nothing of it is saved.
    Files of `base_weights` are merged into the model first; then the base is stored in fewer bits,
    if the job says so.

    Raises `UserError` with every problem of `network_weights`, and if nothing is left to train.
    """

    def __init__(self, job: TrainNetworkJob, model: TargetModel) -> None:
        _freeze(model)
        merged = merge_base_weights(job.network, model)
        quantise_base(job.performance, model)
        plan = NETWORK_KINDS[job.network.network_module](job, model)
        self.warnings: tuple[Problem, ...] = (*merged, *plan.warnings)
        self.step_facts: Mapping[str, float] = {}
        self._network = job.network
        self._family = model.family.name
        self._attachments = plan.layers
        self._owners: dict[str, Owner] = {found.layer.name: found.owner for found in plan.layers}
        self._layers = {found.layer.name: found.layer for found in plan.layers}
        self.trainable_modules = nn.ModuleDict(self._layers)
        self._rates = rates_by_owner(job.optimizer, len(model.text_encoders))
        for found in plan.layers:
            found.layer.learn(self._rates[found.owner] * found.rate_factor > 0)
        if not any(layer.learns for layer in self._layers.values()):
            raise _nothing_to_train()
        if job.performance.full_fp16 or job.performance.full_bf16:
            self._cast(torch.float16 if job.performance.full_fp16 else torch.bfloat16)
        for layer in self._layers.values():
            layer.attach()

    def _cast(self, dtype: torch.dtype) -> None:
        """Cast what learns; alphas stay exact."""
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
        return any(self._layers[name].learns for name in self._names("te1", "te2"))

    @property
    def rank_and_alpha(self) -> tuple[str, str]:
        """Rank and alpha as metadata tells them: of Linears and 1x1s; "Dynamic" if they differ."""
        network = self._network
        if network.network_module in _OWN_DIM_MODULES and not network.dim_from_weights:
            return str(network.network_dim or 4), str(network.network_alpha)
        small = [
            layer
            for layer in self._layers.values()
            if not isinstance(layer.base, nn.Conv2d) or layer.base.kernel_size == (1, 1)
        ]
        ranks, alphas = {layer.rank for layer in small}, {layer.alpha_value for layer in small}
        rank = str(ranks.pop()) if len(ranks) == 1 else "Dynamic"
        return rank, str(alphas.pop()) if len(alphas) == 1 else "Dynamic"

    def _names(self, *owners: Owner) -> Iterator[str]:
        return (name for name, owner in self._owners.items() if owner in owners)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimizer's groups: `params`, `lr`, and `name` for logs.

        One group "text_encoder" if its encoders have one rate, else "text_encoder_1" and
        "text_encoder_2"; then "unet", or with rates by block "unet_block_3" and so on. With LoRA+
        the upper factors follow as "…_plus". A part with rate 0 has no group.
        """
        return network_groups(self._attachments, self._rates, self._network.arguments)

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

    def begin_at(self, step: int) -> None:
        """Limit the norms of weights to begin with; those of a run that goes on were, once."""
        if not step:
            self.after_step(step)

    def after_step(self, step: int) -> None:
        """Limit the norm of each layer's change, if that is asked for."""
        largest = self._network.scale_weight_norms
        if largest is not None:
            learning = (layer for layer in self._layers.values() if layer.learns)
            self.step_facts = norm_facts([layer.scale_norm(largest) for layer in learning], largest)

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
        """Return the file's tensors on the CPU, by module; text encoders first.

        With `dtype` all of them are cast to it, alphas too; without, they are as in memory.
        """
        return {
            f"{name}.{part}": tensor.detach()
            .to("cpu", dtype or tensor.dtype, copy=True)
            .contiguous()
            for name, layer in self._layers.items()
            for part, tensor in layer.file_tensors().items()
        }

    def save(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
    ) -> None:
        """Write the network's file atomically, in the format of its ending, with hashes added.

        Only `.safetensors` has room for `metadata`. Raises `OSError` if it cannot be written; what
        was at `path` is then still there.
        """
        state = self.export_state_dict(dtype)
        if Path(path).suffix != ".safetensors":
            save_tensors(state, path)
            return
        if self._network.network_module == "lycoris.kohya":
            found = {"sshs_model_hash": lycoris_hash(state)}
        else:
            hashes = tensor_hashes(state, metadata)
            found = {"sshs_model_hash": hashes.model, "sshs_legacy_hash": hashes.legacy}
        save_tensors(state, path, {**metadata, **found})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take weights from a file of exactly these modules, ranks and alphas.

        Raises `UserError` if the file is another network's.
        """
        self._take(read_network(path, self._family), Path(path).name)

    def _take(self, file: NetworkFile, source: str) -> None:
        different = set(file.modules) ^ set(self._layers)
        different |= {
            name
            for name, layer in self._layers.items()
            if name in file.modules and layer.misfit(file.modules[name])
        }
        if different:
            raise UserError(
                f"{source} is of another network: {min(different)} and "
                f"{len(different) - 1} more modules differ",
                hint="Use the settings that it was trained with.",
            )
        for name, layer in self._layers.items():
            layer.take(file.modules[name])


def norm_facts(norms: Sequence[float], largest: float) -> dict[str, float]:
    """Tell what was scaled, by the names of sd-scripts' logs: how many layers, and their norms.

    `norms` are those of all layers before they were limited to `largest`; the mean and the maximum
    are of the norms after it.
    """
    limited = [min(norm, largest) for norm in norms]
    return {
        "max_norm/keys_scaled": float(sum(norm > largest for norm in norms)),
        "max_norm/average_key_norm": sum(limited) / len(limited),
        "max_norm/max_key_norm": max(limited),
    }


def _freeze(model: TargetModel) -> None:
    for module in (model.unet, *model.text_encoders):
        module.requires_grad_(False)


def _nothing_to_train() -> UserError:
    return UserError(
        "Nothing would be trained: every part is switched off or has the learning rate 0",
        option="learning_rate, unet_lr, text_encoder_lr",
        hint="Give the U-Net or the text encoder a learning rate above 0.",
    )
