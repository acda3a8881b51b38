"""What the training in a form would cost: from what is known of its model, pictures and steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kohya_gui.forms.live import Insight
from kohya_gui.jobs.costs import Workload, network_bytes, side_of
from sd_scripts.families.detect import ModelInfo
from sd_scripts.options.jobs import TrainNetworkJob, WholeModelJob

_PAINTED_STEPS: Final = 30
_EMBEDDING_BYTES: Final = 20_000


def workload_of(insight: Insight) -> Workload | None:
    """Return what decides the cost of a form's job; None while its files are not known."""
    model = insight.model.found if insight.model is not None else None
    plan, arithmetic = insight.plan, insight.arithmetic
    family = insight.family
    if not isinstance(model, ModelInfo) or plan is None or arithmetic is None or family is None:
        return None
    values = {name: value for group in insight.reading.groups.values() for name, value in group}
    steps, epochs = arithmetic.total_steps, arithmetic.num_epochs
    side = side_of(values["resolution"], family)
    painted = _times(values, "sample", steps, epochs) + bool(values["sample_at_first"])
    return Workload(
        family=family,
        num_parameters=model.num_parameters,
        pixels=side * side,
        batch=values["train_batch_size"],
        steps=steps * values["gradient_accumulation_steps"],
        result=_result_bytes(insight, values, family, model.num_parameters),
        half=values["mixed_precision"] in ("bf16", "fp16"),
        checkpointing=values["gradient_checkpointing"],
        cached_text=values["cache_text_encoder_outputs"],
        num_pictures=sum(not one.is_reg for one in plan.samples),
        num_painted=painted * _num_prompts(insight),
        painted_steps=_PAINTED_STEPS,
        num_saved=_times(values, "save", steps, epochs) + 1,
    )


def _times(values: Mapping[str, Any], what: str, steps: int, epochs: int) -> int:
    """Return how often something is done that has `…_every_n_steps` and `…_every_n_epochs`."""
    by_steps, by_epochs = values[f"{what}_every_n_steps"], values[f"{what}_every_n_epochs"]
    return (steps // by_steps if by_steps else 0) + (epochs // by_epochs if by_epochs else 0)


def _num_prompts(insight: Insight) -> int:
    text = insight.prepared.prompt_text
    file = insight.prepared.values.get("sample_prompts")
    if not text and isinstance(file, str):
        try:
            text = Path(file).read_text("utf-8", "replace")
        except (OSError, ValueError):
            return 0  # told beside the option
    return sum(bool(line.strip()) and not line.startswith("#") for line in text.splitlines())


def _result_bytes(
    insight: Insight, values: Mapping[str, Any], family: str, num_parameters: int
) -> int:
    job_type = insight.prepared.job_type
    if issubclass(job_type, TrainNetworkJob):
        rank, conv_rank = values["network_dim"] or 4, values["conv_dim"] or 0
        half = values["save_precision"] in ("bf16", "fp16")
        return network_bytes(family, num_parameters, rank, conv_rank) * (1 if half else 2)
    if issubclass(job_type, WholeModelJob):
        return num_parameters * (2 if values["save_precision"] in ("bf16", "fp16") else 4)
    return _EMBEDDING_BYTES
