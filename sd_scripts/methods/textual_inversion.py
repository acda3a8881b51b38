"""Textual Inversion: a new word is all that learns (https://arxiv.org/abs/2208.01618)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from sd_scripts.errors import Problem
from sd_scripts.methods.embedding import NewWord, WordFamily, WordModel
from sd_scripts.methods.quantised_base import quantise_base
from sd_scripts.options.jobs import TrainingJob, TrainTextualInversionJob
from sd_scripts.weights.metadata import SaveFacts, TrainingFacts, build_model_spec


class InversionFamily(WordFamily, Protocol):
    """What the method asks of a model family."""

    def network_targets(self, model: Any) -> Sequence[Any]: ...


class InversionModel(WordModel, Protocol):
    """What the method asks of a loaded model."""

    @property
    def family(self) -> InversionFamily: ...
    @property
    def unet(self) -> nn.Module: ...


class TextualInversionMethod:
    """A new word on a frozen model: its vectors are all that the optimizer knows of.

    Raises `UserError` with every problem of the word, its start and the file in `weights`.
    """

    def __init__(self, job: TrainTextualInversionJob, model: InversionModel) -> None:
        freeze([model.unet, *model.text_encoders])
        quantise_base(job.performance, model)
        seed = job.training.seed or 0
        self.word = NewWord(job.embedding, model, seed, trained_dtype(job))
        self._rate = job.optimizer.learning_rate

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What the user should know of the word and its start."""
        return self.word.warnings

    @property
    def trainable_modules(self) -> nn.Module:
        """The vectors [n, D] by their names in the file."""
        return self.word.rows

    @property
    def num_modules(self) -> dict[str, int]:
        """Number of vectors by text encoder."""
        return self.word.num_vectors

    @property
    def num_parameters(self) -> int:
        """How many numbers learn."""
        return self.word.num_parameters

    @property
    def trains_text_encoder(self) -> bool:
        """Gradients go through the text encoders to their inputs."""
        return True

    @property
    def step_facts(self) -> Mapping[str, float]:
        """Nothing is to be told of a step."""
        return {}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return one group, "embedding"."""
        return [{"params": list(self.word.rows.values()), "lr": self._rate, "name": "embedding"}]

    def set_training(self) -> None:
        """Nothing behaves otherwise while training."""

    def begin_at(self, step: int) -> None:
        """Nothing is to be made ready."""

    def after_step(self, step: int) -> None:
        """Nothing is due."""

    def file_metadata(
        self, job: TrainingJob, facts: TrainingFacts, save: SaveFacts
    ) -> dict[str, str]:
        """Return modelspec's entries; embeddings have no others."""
        return build_model_spec(job, facts, save, "textual-inversion")

    def save(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
    ) -> None:
        """Write the embedding file atomically, in the format of its ending. Raises `OSError`."""
        self.word.save(path, metadata, dtype)

    def detach(self) -> None:
        """Make the model forget the word."""
        self.word.detach()


def freeze(modules: Sequence[nn.Module]) -> None:
    """Keep all weights of a model as they are."""
    for module in modules:
        module.requires_grad_(False)


def trained_dtype(job: TrainingJob) -> torch.dtype:
    """Return the number format of what learns: float32 unless everything is in half precision."""
    performance = job.performance
    if performance.full_fp16:
        return torch.float16
    return torch.bfloat16 if performance.full_bf16 else torch.float32
