"""How large a job's network and its files will be, known without loading a weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from sd_scripts.dataset.steps import StepArithmetic
from sd_scripts.errors import Problem, UserError, raise_if_errors
from sd_scripts.families.base import LoadOptions, Part
from sd_scripts.families.registry import FAMILIES
from sd_scripts.methods.base import Method
from sd_scripts.methods.quantised_base import Saving, saving_of
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.train.inputs import check_text_options
from sd_scripts.train.methods import make_method
from sd_scripts.train.optimizers import build_optimizer
from sd_scripts.train.precision import precision_of
from sd_scripts.train.preflight import Preflight
from sd_scripts.train.saving import SavePlan, num_kept
from sd_scripts.train.schedulers import build_scheduler
from sd_scripts.train.state_facts import WEIGHTS_FILE, find_state
from sd_scripts.weights.headers import read_safetensors_header

_PART_NAMES: Final = {"unet": "U-Net", "te1": "text encoder", "te2": "second text encoder"}
_STATE_BYTES: Final = {"Adafactor": 0.1, "8bit": 2.2}
"""What an optimizer keeps for each number, by the end of its name; most keep two more numbers."""


@dataclass(frozen=True)
class NetworkCount:
    """Modules by part, numbers that learn, and the size of one saved file and state in bytes.

    `base` is what storing the frozen base in fewer bits saves, None where it is as it is.
    """

    modules: Mapping[str, int]
    parameters: int
    saved_bytes: int
    state_bytes: int
    base: Saving | None = None


def count_network(
    job: TrainingJob, checked: Preflight
) -> tuple[NetworkCount | None, list[Problem]]:
    """Build the model, its network and optimizer without memory for weights, and count.

    What is wrong with tensors of the model, `vae`, `network_weights` or `resume`, or with the
    optimizer's settings, comes back as problems.
    """
    assert checked.model is not None
    caches_text = job.data.cache_text_encoder_outputs
    parts: frozenset[Part] = frozenset() if caches_text else frozenset(["text_encoders"])
    options = LoadOptions(device="meta", parts=parts, vae=job.model.vae, resolved=checked.model)
    try:
        family = FAMILIES[checked.model.family]
        model = family.load(job.model.pretrained_model_name_or_path, options)
        method = make_method(job, model)
    except UserError as error:
        return None, list(error.problems)
    problems = list(method.warnings)
    checks: tuple[Callable[[], object], ...] = (
        lambda: family.load_missing(model, ["vae"]),
        lambda: check_text_options(job, model),
        lambda: raise_if_errors(state_problems(job, method)),
        lambda: build_scheduler(
            job,
            build_optimizer(job, method.parameter_groups()),
            max(1, checked.arithmetic.total_steps),
        ),
    )
    for check in checks:
        try:
            check()
        except UserError as error:
            problems += error.problems
    saving = saving_of(job.performance, model, precision_of(job).frozen)
    return replace(count_of(method, job, checked), base=saving), problems


def state_problems(job: TrainingJob, method: Method) -> list[Problem]:
    """Tell if the state to resume is of another network; one that is missing is told elsewhere."""
    if not job.saving.resume:
        return []
    try:
        found = read_safetensors_header(find_state(Path(job.saving.resume)) / WEIGHTS_FILE)
    except (UserError, OSError):
        return []  # told by `look_ahead`, or with the damage named when it is loaded
    saved = {name: tuple(info.shape) for name, info in found.tensors.items()}
    wanted = {k: tuple(v.shape) for k, v in method.trainable_modules.state_dict().items()}
    if saved == wanted:
        return []
    return [
        Problem(
            "The state to resume is of another training: what learns is not the same",
            f"resume, {job.shape_options}",
            "Use the settings that it was trained with.",
        )
    ]


def count_of(method: Method, job: TrainingJob, checked: Preflight) -> NetworkCount:
    """Count a network that is attached already, or a model that learns itself."""
    total = sum(p.numel() for p in method.trainable_modules.parameters())
    precision = precision_of(job)
    saved = total * _size(precision.saved or precision.trained)
    if job.learning_parts and checked.info is not None:  # the others are in the file too
        rest = max(0, checked.info.num_parameters - total)
        saved += rest * _size(precision.saved or torch.float32)
    kept = 2.0 * _size(torch.float32)
    for ending, number in _STATE_BYTES.items():
        kept = number if job.optimizer.optimizer_type.endswith(ending) else kept
    kept += _size(torch.float32) if job.training.use_ema else 0
    return NetworkCount(
        modules={_PART_NAMES[part]: number for part, number in method.num_modules.items()},
        parameters=method.num_parameters,
        saved_bytes=saved,
        state_bytes=int(total * (_size(precision.trained) + kept)),
    )


def _size(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()


def file_bytes(job: TrainingJob, arithmetic: StepArithmetic, count: NetworkCount) -> int:
    """Estimate the bytes of all files that a whole run leaves, states included."""
    files, states = num_kept(SavePlan.of(job, arithmetic.num_epochs), arithmetic)
    return files * count.saved_bytes + states * count.state_bytes
