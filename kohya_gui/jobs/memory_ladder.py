"""What spares memory, cheapest first: the next rung for a job that ran out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sd_scripts.errors import UserError
from sd_scripts.options.jobs import Job
from sd_scripts.options.values import replace_values, values_of

Values = Mapping[str, Any]
"""All options of a job, by name."""


@dataclass(frozen=True)
class Rung:
    """A change that spares memory. `name` is what its cost is told under."""

    name: str
    changes: Callable[[Values], dict[str, object] | None]
    """Returns the new values, None where there is nothing (more) to spare."""


def _switch(name: str, **wanted: object) -> Rung:
    """A rung that sets options, where they are not set so yet."""

    def changes(values: Values) -> dict[str, object] | None:
        if any(option not in values for option in wanted):
            return None
        new = {option: value for option, value in wanted.items() if values[option] != value}
        return new or None

    return Rung(name, changes)


def _half_batch(values: Values) -> dict[str, object] | None:
    batch = values.get("train_batch_size")
    if not isinstance(batch, int) or batch < 2:
        return None
    gathered = values.get("gradient_accumulation_steps") or 1
    # Only an even batch can be shared out so that a step learns from the same number of pictures.
    more = {"gradient_accumulation_steps": gathered * 2} if batch % 2 == 0 else {}
    return {"train_batch_size": batch // 2, **more}


def _half_precision(values: Values) -> dict[str, object] | None:
    return {"mixed_precision": "bf16"} if values.get("mixed_precision") == "no" else None


def _small_optimizer(values: Values) -> dict[str, object] | None:
    return {"optimizer_type": "AdamW8bit"} if values.get("optimizer_type") == "AdamW" else None


def _base_in_8_bits(values: Values) -> dict[str, object] | None:
    stored = any(values.get(name) for name in ("quantize_base", "fp8_base", "fp8_base_unet"))
    return {"quantize_base": "fp8"} if "quantize_base" in values and not stored else None


def _smaller_pictures(values: Values) -> dict[str, object] | None:
    """Three quarters of the side, in steps of 64, and not below 256."""
    try:
        sides = [int(part) for part in str(values.get("resolution") or "").split(",")]
    except ValueError:
        return None
    smaller = [max(256, side * 3 // 4 // 64 * 64) for side in sides]
    if not sides or any(new >= old for new, old in zip(smaller, sides, strict=True)):
        return None
    return {"resolution": ",".join(str(side) for side in smaller)}


def _half_captioning_batch(values: Values) -> dict[str, object] | None:
    batch = values.get("batch_size")
    return {"batch_size": batch // 2} if isinstance(batch, int) and batch > 1 else None


RUNGS: Final = (
    _switch("cache_latents", cache_latents=True),
    _switch("gradient_checkpointing", gradient_checkpointing=True),
    Rung("mixed_precision", _half_precision),
    Rung("batch", _half_batch),
    Rung("optimizer", _small_optimizer),
    _switch("text_encoder", network_train_unet_only=True, cache_text_encoder_outputs=True),
    _switch("fused", fused_backward_pass=True),
    Rung("quantize", _base_in_8_bits),
    Rung("resolution", _smaller_pictures),
    Rung("captioning_batch", _half_captioning_batch),
)


def next_rung(job: Job) -> tuple[str, dict[str, object]] | None:
    """Return the first rung that the job has not taken and may take, and its changes; or None.

    A rung that contradicts another option of the job is passed over.
    """
    values = values_of(job)
    for rung in RUNGS:
        changes = rung.changes(values)
        if changes is None:
            continue
        try:
            replace_values(job, changes)
        except UserError:
            continue
        return rung.name, changes
    return None
