"""What a job cannot have where its processes share out the weights, told before any long work."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.jobs import TrainingJob, WholeModelJob
from sd_scripts.options.optimizer_table import ELEMENTWISE
from sd_scripts.runs.sharding import Sharding


def sharding_problems(job: TrainingJob, sharding: Sharding) -> Iterator[Problem]:
    """Yield each option that needs whole weights, with what to do instead."""
    if not sharding.on:
        return
    way = sharding.way
    if not isinstance(job, WholeModelJob):
        yield Problem(
            f"{way} shares out the weights of whole models (train_db, fine_tune); what {job.name} "
            "trains is small, and the model beside it is needed whole",
            None,
            "Start it with accelerate launch --multi_gpu or docs/accelerate/one-machine.yaml; "
            "where the model is too large for a card, quantize_base makes it smaller.",
        )
        return
    performance, optimizer = job.performance, job.optimizer.optimizer_type
    if optimizer not in ELEMENTWISE:
        yield Problem(
            f"{optimizer} looks at whole tensors, and with {way} a process has pieces of them",
            "optimizer_type",
            "Choose AdamW, AdamW8bit or Lion; docs/several-processes.md lists all that work.",
        )
    if performance.mixed_precision == "fp16":
        yield Problem(
            f"fp16 does not work with {way}: all would have to skip a step that overflows",
            "mixed_precision, full_fp16",
            "Choose bf16, or no.",
        )
    if performance.compiler is not None:
        yield Problem(
            f"Compiled blocks do not work with {way}",
            "torch_compile, dynamo_backend",
            "Switch torch_compile off.",
        )
    if performance.opt_channels_last:
        yield Problem(
            f"Weights that are laid out with channels last cannot be cut for {way}",
            "opt_channels_last",
            "Switch it off.",
        )
