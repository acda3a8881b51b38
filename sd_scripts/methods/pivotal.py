"""Pivotal tuning: a network and a new word learn together, each with its own rate and file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from sd_scripts.errors import Problem
from sd_scripts.files import companion
from sd_scripts.methods.base import Method
from sd_scripts.methods.embedding import NewWord, WordModel
from sd_scripts.methods.textual_inversion import trained_dtype
from sd_scripts.options.jobs import TrainingJob, TrainNetworkJob
from sd_scripts.weights.metadata import SaveFacts, TrainingFacts
from sd_scripts.weights.model_spec import implementation

_ARCHITECTURE: Final = "modelspec.architecture"
_IMPLEMENTATION: Final = "modelspec.implementation"


class PivotalMethod:
    """Any network's method, and a new word beside it in the same model.

    What the network is asked for, it answers; the word adds its vectors, a parameter group
    "embedding" (none at the rate 0) and a file of its own beside the network's. A state holds both,
    as `network.…` and `embedding.…`. The network must be attached already.
    """

    def __init__(self, job: TrainNetworkJob, model: WordModel, network: Method) -> None:
        self.network = network
        self.word = NewWord(job.embedding, model, job.training.seed or 0, trained_dtype(job))
        self._rate = job.optimizer.effective_embedding_lr
        self._companions = job.companions
        self.word.rows.requires_grad_(self._rate > 0)
        self.trainable_modules: nn.Module = nn.ModuleDict(
            {"network": network.trainable_modules, "embedding": self.word.rows}
        )

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What the user should know of network and word."""
        return (*self.network.warnings, *self.word.warnings)

    @property
    def num_modules(self) -> dict[str, int]:
        """Number of the network's modules by part."""
        return self.network.num_modules

    @property
    def num_parameters(self) -> int:
        """How many numbers learn, in the network and of the word."""
        return self.network.num_parameters + self.word.num_parameters

    @property
    def trains_text_encoder(self) -> bool:
        """Whether the network learns in a text encoder, or the word learns at all."""
        return self.network.trains_text_encoder or self._rate > 0

    @property
    def step_facts(self) -> Mapping[str, float]:
        """What there is to tell of the network's last step."""
        return self.network.step_facts

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the network's groups, then "embedding"."""
        groups = self.network.parameter_groups()
        if self._rate > 0:
            vectors = list(self.word.rows.values())
            groups = [*groups, {"params": vectors, "lr": self._rate, "name": "embedding"}]
        return groups

    def set_training(self) -> None:
        """Put the network into training mode."""
        self.network.set_training()

    def begin_at(self, step: int) -> None:
        """Make the network ready."""
        self.network.begin_at(step)

    def after_step(self, step: int) -> None:
        """Do what is due in the network."""
        self.network.after_step(step)

    def file_metadata(
        self, job: TrainingJob, facts: TrainingFacts, save: SaveFacts
    ) -> dict[str, str]:
        """Return the metadata of the network's file, with the word and how it was learned."""
        metadata = self.network.file_metadata(job, facts, save)
        word = job.new_word
        assert word is not None
        told = {
            "ss_token_string": word.token_string,
            "ss_num_vectors_per_token": word.num_vectors_per_token,
            "ss_init_word": word.init_word,
            "ss_embedding_lr": self._rate,
        }
        if not job.metadata.no_metadata:
            metadata = {**metadata, **{name: str(value) for name, value in told.items()}}
        return metadata

    def save(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
    ) -> None:
        """Write the embedding's file, then the network's, each atomically. Raises `OSError`."""
        for suffix in self._companions:
            beside = companion(Path(path), suffix)
            self.word.save(beside, embedding_metadata(metadata), dtype)
        self.network.save(path, metadata, dtype)


def embedding_metadata(network: Mapping[str, str]) -> dict[str, str]:
    """Return the modelspec of the embedding beside a network's file."""
    found = {name: text for name, text in network.items() if name.startswith("modelspec.")}
    if _ARCHITECTURE in found:
        found[_ARCHITECTURE] = found[_ARCHITECTURE].replace("/lora", "/textual-inversion")
        found[_IMPLEMENTATION] = implementation("sd1", "textual-inversion")
    return found
