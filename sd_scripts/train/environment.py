"""What this machine and its installed packages cannot do of what a job asks for."""

from __future__ import annotations

import importlib.util

import torch
from accelerate.state import PartialState

from sd_scripts.errors import Problem
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.options.optimizer_table import OPTIMIZERS
from sd_scripts.runs.sharding import Sharding
from sd_scripts.train.fitting import fitting_problems
from sd_scripts.train.optimizers import package_remedy
from sd_scripts.train.precision import precision_problems
from sd_scripts.train.sharding_limits import sharding_problems
from sd_scripts.train.trackers import tracker_problems


def environment_problems(job: TrainingJob, sharding: Sharding | None = None) -> list[Problem]:
    """Return missing packages, number formats that the device does not know, and what does not
    work in several processes, or where they share out the weights."""
    problems = precision_problems(job, PartialState().device)
    fused = job.performance.fused_option
    if fused is not None and PartialState().num_processes > 1:
        problems.append(
            Problem(
                f"{fused} lets weights move before the processes could exchange their gradients",
                fused,
                f"Train in one process, or switch {fused} off.",
            )
        )
    problems += sharding_problems(job, sharding or Sharding())
    problems += fitting_problems(job.performance, PartialState().device)
    problems += tracker_problems(job)
    problems += _optimizer_problems(job)
    if job.performance.xformers:
        problems += _xformers_problems()
    return problems


def _optimizer_problems(job: TrainingJob) -> list[Problem]:
    entry = OPTIMIZERS[job.optimizer.optimizer_type]
    if entry.package and importlib.util.find_spec(entry.package) is None:
        message = f"{entry.name} needs the package {entry.package}, which is not installed"
        return [Problem(message, "optimizer_type", package_remedy(entry))]
    if entry.paged and PartialState().device.type != "cuda":
        return [
            Problem(
                f"{entry.name} moves memory between a graphics card and main memory; there is no "
                "such card here, so it works like the same optimizer without paging",
                "optimizer_type",
                "Nothing is lost by it.",
                "warning",
            )
        ]
    return []


def _xformers_problems() -> list[Problem]:
    hint = "Leave it off: PyTorch's own attention is then used."
    if not torch.cuda.is_available():
        return [Problem("xformers works on NVIDIA and AMD graphics cards only", "xformers", hint)]
    if importlib.util.find_spec("xformers") is None:
        hint = f"Install the extra “xformers”. {hint}"
        return [Problem("The package xformers is not installed", "xformers", hint)]
    return []
