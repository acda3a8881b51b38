"""The same prompt painted with each result of a run, at one strength: an order for the painter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kohya_gui.guided.outcome import Checkpoint
from kohya_gui.guided.plan import PAINTED_STEPS, Values, is_starter
from kohya_gui.guided.project import Project
from kohya_gui.jobs.costs import SIDES
from sd_scripts.painting.orders import BaseChoice, NetworkUse, Order, Picture

MAX_STRENGTH: Final = 1.2
BEFORE: Final = "0"
"""The column of the model without any result."""


def order_of(
    project: Project,
    values: Values,
    family: str,
    checkpoints: Sequence[Checkpoint],
    wish: tuple[str, float, int],
) -> Order:
    """Return an order of one picture without and one with each checkpoint.

    `wish` is prompt, strength and seed; `values` are those of the job (how text is read), and
    columns are steps.
    """
    prompt, strength, seed = wish
    starter = is_starter(project.model)
    side = 128 if starter else SIDES[family]
    shared: dict[str, Any] = {
        "prompt": prompt,
        "width": side,
        "height": side,
        "sample_steps": PAINTED_STEPS,
        "scale": 4.0 if starter else 7.0,
        "seed": seed,
        "row": prompt[:200],
    }
    pictures = [Picture(**shared, column=BEFORE)]
    for one in checkpoints:
        use = NetworkUse(path=str(one.path), strength=strength)
        pictures.append(Picture(**shared, networks=(use,), column=str(one.step)))
    base = BaseChoice(path=project.model, clip_skip=values.get("clip_skip"))
    return Order(base=base, pictures=tuple(pictures), title=project.name, origin=project.run)
