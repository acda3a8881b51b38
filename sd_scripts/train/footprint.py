"""How large a job's network and its files will be, known without loading a weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch

from sd_scripts.dataset.steps import StepArithmetic
from sd_scripts.errors import Problem, UserError
from sd_scripts.families.base import LoadOptions, Part
from sd_scripts.families.registry import FAMILIES
from sd_scripts.methods.network import NetworkMethod
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.train.precision import precision_of
from sd_scripts.train.preflight import Preflight
from sd_scripts.train.saving import SavePlan, num_kept

_PART_NAMES: Final = {"unet": "U-Net", "te1": "text encoder", "te2": "second text encoder"}
_STATE_FACTOR: Final = 3
"""A training state holds the weights and, for most optimizers, two more numbers for each."""


@dataclass(frozen=True)
class NetworkCount:
    """Modules by part, numbers that learn, and the size of one saved file and state in bytes."""

    modules: Mapping[str, int]
    parameters: int
    saved_bytes: int
    state_bytes: int


def count_network(
    job: TrainNetworkJob, checked: Preflight
) -> tuple[NetworkCount | None, list[Problem]]:
    """Build the model and its network without memory for weights, and count.

    What is wrong with the model's tensors or with `network_weights` comes back as problems.
    """
    assert checked.model is not None
    caches_text = job.data.cache_text_encoder_outputs
    parts: frozenset[Part] = frozenset() if caches_text else frozenset(["text_encoders"])
    options = LoadOptions(device="meta", parts=parts, resolved=checked.model)
    try:
        family = FAMILIES[checked.model.family]
        model = family.load(job.model.pretrained_model_name_or_path, options)
        method = NetworkMethod(job, model)
    except UserError as error:
        return None, list(error.problems)
    return count_of(method, job), list(method.warnings)


def count_of(method: NetworkMethod, job: TrainNetworkJob) -> NetworkCount:
    """Count a network that is attached already."""
    total = sum(p.numel() for p in method.trainable_modules.parameters())
    precision = precision_of(job)
    saved = precision.saved or precision.trained
    trained = precision.trained
    return NetworkCount(
        modules={_PART_NAMES[part]: number for part, number in method.num_modules.items()},
        parameters=method.num_parameters,
        saved_bytes=total * _size(saved),
        state_bytes=total * _size(trained) * _STATE_FACTOR,
    )


def _size(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()


def file_bytes(job: TrainNetworkJob, arithmetic: StepArithmetic, count: NetworkCount) -> int:
    """Estimate the bytes of all files that a whole run leaves, states included."""
    files, states = num_kept(SavePlan.of(job, arithmetic.num_epochs), arithmetic)
    return files * count.saved_bytes + states * count.state_bytes
