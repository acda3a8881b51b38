"""The method of whole models: U-Net and text encoders learn with their own weights."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import torch
from torch import nn

from sd_scripts.errors import Problem, UserError
from sd_scripts.options.jobs import TrainingJob, WholeModelJob
from sd_scripts.weights.checkpoint_keys import UNetLayout, unet_key
from sd_scripts.weights.metadata import SaveFacts, TrainingFacts, build_metadata
from sd_scripts.weights.model_kinds import FamilyName, Owner

TEXT_OWNERS: Final[tuple[Owner, ...]] = ("te1", "te2")
# Where each of SDXL's 23 learning rates begins to count: embeddings are 0, the output 22.
_FIRST_BLOCKS: Final = {"input_blocks": 1, "middle_block": 10, "output_blocks": 13}


class Saver(Protocol):
    """What the method asks of the writer of whole models."""

    def save_file(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
    ) -> None: ...

    def save_folder(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
        *,
        safetensors: bool = True,
    ) -> None: ...


class WholeFamily(Protocol):
    """What the method asks of a model family."""

    @property
    def name(self) -> FamilyName: ...

    def saver(self, model: Any, learning: frozenset[Owner]) -> Saver: ...


class WholeModel(Protocol):
    """What the method asks of a loaded model."""

    @property
    def family(self) -> WholeFamily: ...
    @property
    def unet(self) -> Any: ...
    @property
    def text_encoders(self) -> Sequence[Any]: ...


class FullMethod:
    """Trains a model's own weights.

    `trainable_modules` holds the parts that learn, by "te1", "te2" and "unet". What a part has and
    the model never computes with (SDXL reads its first encoder before the last layer) stays as it
    is, and so do blocks with the rate 0. The text encoders stop learning after as many steps as
    the job says. Raises `UserError` if nothing is left to train.
    """

    def __init__(self, job: WholeModelJob, model: WholeModel) -> None:
        self._format = job.model_format
        self._text_steps = job.full.text_encoder_steps
        self._rates = self._rates_by_part(job, model)
        parts: dict[str, nn.Module] = {
            **dict(zip(TEXT_OWNERS, model.text_encoders, strict=False)),
            "unet": model.unet,
        }
        for part in parts.values():
            part.requires_grad_(False)
        self._depths = {
            owner: _used_layers(encoder, model.family.name, owner, job.model.clip_skip)
            for owner, encoder in zip(TEXT_OWNERS, model.text_encoders, strict=False)
        }
        learning = {owner: parts[owner] for owner in parts if self._groups_of(owner, parts[owner])}
        if not learning:
            raise UserError(
                "Nothing would be trained: every part is switched off or has the learning rate 0",
                option="learning_rate, learning_rate_te, block_lr, train_text_encoder",
                hint="Give the U-Net or the text encoder a learning rate above 0.",
            )
        self.trainable_modules = nn.ModuleDict(learning)
        for group in self.parameter_groups():
            for parameter in group["params"]:
                parameter.requires_grad_(True)
        owners: frozenset[Owner] = frozenset(o for o in (*TEXT_OWNERS, "unet") if o in learning)
        self._saver = model.family.saver(model, owners)
        self.warnings = tuple(_notes(job, model))

    def _rates_by_part(self, job: WholeModelJob, model: WholeModel) -> dict[str, tuple[float, ...]]:
        """Return the learning rates of each part: one, or for the U-Net one a block."""
        found: dict[str, tuple[float, ...]] = {}
        blocks = job.optimizer.block_rates if model.family.name == "sdxl" else None
        found["unet"] = blocks or (job.optimizer.learning_rate,)
        for index, owner in enumerate(TEXT_OWNERS[: len(model.text_encoders)]):
            rate = 0.0 if self._text_steps == 0 else job.optimizer.text_encoder_rate(index)
            found[owner] = (rate,)
        return found

    def _groups_of(self, owner: str, module: nn.Module) -> dict[int, list[nn.Parameter]]:
        """Return the parameters that learn, by the number of their rate."""
        rates = self._rates[owner]
        layout = None
        if len(rates) > 1:
            config: Any = module.config
            layout = UNetLayout.of(config["layers_per_block"], config["up_block_types"])
        found: dict[int, list[nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            number = 0 if layout is None else block_number(unet_key(name, layout))
            if rates[number] > 0 and not self._is_idle(owner, name):
                found.setdefault(number, []).append(parameter)
        return dict(sorted(found.items()))

    def _is_idle(self, owner: str, name: str) -> bool:
        """Tell whether the model never computes with a parameter of a text encoder."""
        if owner not in self._depths:
            return False
        layers, normed = self._depths[owner]
        match = re.search(r"encoder\.layers\.(\d+)\.", name)
        if match:
            return int(match[1]) >= layers
        return not normed and "final_layer_norm" in name

    @property
    def num_modules(self) -> dict[str, int]:
        """Number of layers that learn by part, parts without any left out."""
        return {
            owner: sum(
                any(p.requires_grad for p in layer.parameters(recurse=False))
                for layer in part.modules()
            )
            for owner, part in self.trainable_modules.items()
        }

    @property
    def num_parameters(self) -> int:
        """How many numbers learn."""
        return sum(p.numel() for p in self.trainable_modules.parameters() if p.requires_grad)

    def _text_parts(self) -> Iterator[nn.Module]:
        return (part for owner, part in self.trainable_modules.items() if owner in TEXT_OWNERS)

    @property
    def trains_text_encoder(self) -> bool:
        """Whether a text encoder still learns."""
        return any(p.requires_grad for part in self._text_parts() for p in part.parameters())

    @property
    def step_facts(self) -> Mapping[str, float]:
        """Nothing is to be told of a step."""
        return {}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimizer's groups: `params`, `lr`, and `name` for logs.

        One group "text_encoder" if its encoders have one rate, else "text_encoder_1" and
        "text_encoder_2"; then "unet", or "unet_block0" to "unet_block22" with a rate a block.
        """
        groups: list[dict[str, Any]] = []
        rates = {self._rates[owner] for owner in TEXT_OWNERS if owner in self._rates}
        for owner, part in self.trainable_modules.items():
            for number, params in self._groups_of(owner, part).items():
                name = "unet" if len(self._rates["unet"]) == 1 else f"unet_block{number}"
                if owner in TEXT_OWNERS:
                    name = "text_encoder"
                    name += f"_{TEXT_OWNERS.index(owner) + 1}" if len(rates) > 1 else ""
                rate = self._rates[owner][number]
                if groups and groups[-1]["name"] == name:
                    groups[-1]["params"] += params
                else:
                    groups.append({"params": params, "lr": rate, "name": name})
        return groups

    def set_training(self) -> None:
        """Put the parts that learn into training mode."""
        self.trainable_modules.train()

    def begin_at(self, step: int) -> None:
        """Freeze the text encoders if they have learned long enough already, or never shall."""
        self.after_step(step)

    def after_step(self, step: int) -> None:
        """Freeze the text encoders once they have learned as many steps as they shall."""
        if self._text_steps is None or step < self._text_steps:
            return
        for part in self._text_parts():
            part.requires_grad_(False)

    def file_metadata(
        self, job: TrainingJob, facts: TrainingFacts, save: SaveFacts
    ) -> dict[str, str]:
        """Return sd-scripts' `ss_` entries and modelspec's."""
        return build_metadata(job, facts, save, {}, "checkpoint")

    def save(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
    ) -> None:
        """Write the model as a file or folder, atomically. Raises `OSError`."""
        if self._format.startswith("diffusers"):
            safe = self._format == "diffusers_safetensors"
            self._saver.save_folder(path, metadata, dtype, safetensors=safe)
        else:
            self._saver.save_file(path, metadata, dtype)


def block_number(key: str) -> int:
    """Return which of SDXL's 23 learning rates a U-Net's tensor has, by its name in a checkpoint.

    Source: sd-scripts' `block_lr`: 0 embeddings, 1-9 down, 10-12 middle, 13-21 up, 22 output.
    """
    kind, _, rest = key.partition(".")
    if kind in ("time_embed", "label_emb"):
        return 0
    return 22 if kind == "out" else _FIRST_BLOCKS[kind] + int(rest.partition(".")[0])


def _used_layers(
    encoder: Any, family: FamilyName, owner: Owner, clip_skip: int | None
) -> tuple[int, bool]:
    """Return how many layers of a text encoder are run, and whether its final norm is."""
    layers = int(encoder.config.num_hidden_layers)
    if family == "sdxl":
        return (layers - 1, False) if owner == "te1" else (layers, True)
    return layers - ((clip_skip or 1) - 1), True


def _notes(job: WholeModelJob, model: WholeModel) -> Iterator[Problem]:
    family = model.family.name
    if family == "sdxl":
        return
    for name, value in (
        ("learning_rate_te2", job.optimizer.learning_rate_te2),
        ("block_lr", job.optimizer.block_lr),
    ):
        if value is not None:
            what = "has one text encoder" if name == "learning_rate_te2" else "has other blocks"
            yield Problem(
                f"This is no SDXL model: it {what}, so {name} has no effect",
                name,
                f"Empty {name}.",
                "warning",
            )
