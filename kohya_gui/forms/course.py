"""How the learning rate moves over the run of a form, as plain data for the page's script."""

from __future__ import annotations

from typing import Any, Final

from sd_scripts.dataset.steps import StepArithmetic
from sd_scripts.options.course import course_of, steps_of
from sd_scripts.options.groups.optimizer import NetworkOptimizerOptions, OptimizerOptions
from sd_scripts.options.values import Reading

MAX_POINTS: Final = 300


def course_report(reading: Reading, arithmetic: StepArithmetic | None) -> dict[str, Any]:
    """Return points (step, rate) with the first, highest and last rate among all steps; or that
    steps are not known yet ("none"), or the course only to a library ("unknown")."""
    options = reading.groups.get("optimizer")
    assert isinstance(options, OptimizerOptions)
    total = arithmetic.total_steps if arithmetic is not None else 0
    if not total:
        return {"state": "none"}
    course = course_of(options, total)
    if course is None:
        return {"state": "unknown"}
    rate = options.learning_rate
    if isinstance(options, NetworkOptimizerOptions) and options.unet_lr is not None:
        rate = options.unet_lr
    # Of many steps, so many as can be told apart, with both ends and the end of the warm-up.
    every = max(1, -(-total // MAX_POINTS))
    warmup = min(steps_of(options.lr_warmup_steps, total), total - 1)
    steps = sorted({*range(0, total, every), warmup, total - 1})
    points = [(step, rate * course(step)) for step in steps]
    highest = max(points, key=lambda point: point[1])
    return {
        "state": "done",
        "total": total,
        "points": points,
        "first": points[0][1],
        "highest": highest[1],
        "highest_step": highest[0] + 1,
        "last": points[-1][1],
        "even": all(point[1] == rate for point in points),
    }
