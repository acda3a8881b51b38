"""A loaded model made fit for this machine: packed weights, memory format, TF32, compiled blocks.

None of it changes what is trained or the names in files.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sd_scripts.errors import Problem
from sd_scripts.families.base import LoadedModel
from sd_scripts.methods.frozen import FrozenBase
from sd_scripts.methods.packing import Wanted, pack_base
from sd_scripts.methods.quantised import QuantisedWeight
from sd_scripts.methods.quantised_base import Saving, saving_of
from sd_scripts.options.groups.training import PerformanceOptions
from sd_scripts.options.jobs import TrainingJob
from sd_scripts.train.compiling import compile_blocks, compiler_problems, try_compiler
from sd_scripts.train.precision import precision_of
from sd_scripts.train.preflight import size_text
from sd_scripts.train.state_facts import find_state, read_facts


def fit_to_machine(job: TrainingJob, model: LoadedModel, device: torch.device) -> list[str]:
    """Lay out the U-Net and have it compiled as the job says; returns lines for the log.

    What learns beside the base must be attached already: then the base's frozen weights are packed.
    Raises `UserError` if the compiler does not work.
    """
    performance = job.performance
    told = []
    saving = saving_of(performance, model, precision_of(job).frozen)
    if saving is not None:
        told.append(saving_text(saving))
    if device.type == "cpu" and not job.learning_parts:
        wanted = packing_of(performance)
        before = packed_before(job.saving.resume) if wanted == "auto" else None
        told.append(pack_base([model.unet, *model.text_encoders], wanted, before))
    if performance.opt_channels_last:
        lay_out_channels_last(model.unet)
        told.append("The U-Net is laid out with channels last")
    if performance.allow_tf32 and device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        told.append("32-bit products are made in TF32")
    if performance.compiler is not None:
        try_compiler(performance, device)
        blocks = compile_blocks(performance, model.unet)
        told.append(
            f"{blocks} blocks of the U-Net are compiled by {performance.compiler} as they are "
            "first run: the first steps take longer"
        )
    return told


def packed_before(resume: str | Path | None) -> tuple[str, ...] | None:
    """Return how weights were packed in the run that is resumed, so that it goes on bit for bit."""
    return read_facts(find_state(Path(resume))).packing if resume else None


def packing_of(performance: PerformanceOptions) -> Wanted:
    """Return how frozen weights are packed: by itself not where another layout was asked for."""
    wanted = performance.pack_frozen_weights
    other = performance.opt_channels_last or performance.compiler is not None
    return "off" if wanted == "auto" and other else wanted


def saving_text(saving: Saving) -> str:
    """Say how much smaller the base is: `1.7 GB of the base in int8: 0.9 GB`."""
    before, after = size_text(saving.before), size_text(saving.after)
    return f"{saving.num_layers} layers of the base in {saving.kind}: {after} instead of {before}"


def lay_out_channels_last(unet: nn.Module) -> None:
    """Lay out a U-Net's convolutions with channels last; pictures inside it then follow."""
    unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in unet.modules():
        if isinstance(module, FrozenBase) and isinstance(module.stored, QuantisedWeight):
            module.stored = module.stored.with_channels_last()


def fitting_problems(performance: PerformanceOptions, device: torch.device) -> list[Problem]:
    """Tell what this machine cannot do of it, or has no use for."""
    problems = compiler_problems(performance, device)
    if performance.base_format == "fp8" and device.type == "mps":
        problems.append(
            Problem(
                "Apple's graphics know no 8-bit floating point",
                performance.base_option,
                "Set quantize_base to int8, and switch fp8_base and fp8_base_unet off.",
            )
        )
    idle = performance.mixed_precision != "no"
    if performance.allow_tf32 and (idle or device.type != "cuda"):
        where = "with mixed_precision no" if idle else "on NVIDIA cards from the 30 series on"
        problems.append(
            Problem(
                f"TF32 is for 32-bit products {where} only, so allow_tf32 has no effect here",
                "allow_tf32, mixed_precision" if idle else "allow_tf32",
                "Switch allow_tf32 off; nothing is lost by it.",
                "warning",
            )
        )
    return problems
