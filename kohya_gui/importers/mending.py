"""Values that other programs passed over in silence and that ours would refuse: taken back, in
words."""

from __future__ import annotations

from typing import Final

from kohya_gui.importers.settling import Settling
from sd_scripts.options.scheduler_table import SCHEDULERS

_NEEDS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "save_last_n_epochs": (
        ("save_every_n_epochs", "save_n_epoch_ratio"),
        "nothing is saved by epoch",
    ),
    "save_last_n_epochs_state": (
        ("save_every_n_epochs", "save_n_epoch_ratio"),
        "nothing is saved by epoch",
    ),
    "save_last_n_steps": (("save_every_n_steps",), "nothing is saved by step"),
    "save_last_n_steps_state": (("save_every_n_steps",), "nothing is saved by step"),
    "log_with": (("logging_dir",), "there is no folder for logs (logging_dir)"),
    "adaptive_noise_scale": (("noise_offset",), "noise_offset is off"),
}
"""Options without effect unless one of others is given, and why."""


def mend(settling: Settling, *, sdxl: bool | None) -> None:
    """Take back what has no effect beside the other values. `sdxl`: whether the model is one; None
    if it is not known."""
    for option, (needed, why) in _NEEDS.items():
        if not any(settling.value(name) for name in needed):
            settling.drop(option, why)
    _warmup(settling)
    _attention(settling)
    _bucket_steps(settling, 64 if sdxl is False else 32)


def _warmup(settling: Settling) -> None:
    name = settling.value("lr_scheduler")
    course = next((entry for entry in SCHEDULERS.values() if entry.name == name), None)
    if course is not None and course.name != "adafactor" and "lr_warmup_steps" not in course.reads:
        settling.drop("lr_warmup_steps", f"the course {course.name} has no warm-up")


def _attention(settling: Settling) -> None:
    kinds = [name for name in ("mem_eff_attn", "xformers", "sdpa") if settling.value(name) is True]
    for name in kinds[1:]:
        settling.drop(name, f"{kinds[0]} is on as well, and goes first")


def _bucket_steps(settling: Settling, unit: int) -> None:
    steps = settling.value("bucket_reso_steps")
    if isinstance(steps, int) and steps % unit:
        settling.replace(
            "bucket_reso_steps",
            max(unit, steps // unit * unit),
            f"sizes have to be multiples of {unit}",
        )
