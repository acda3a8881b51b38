"""How long a goal is taught: looks at the pictures become steps, by the trainer's arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from kohya_gui.guided.goals import CARDS, STAGES, Card, Goal
from sd_scripts.dataset.steps import StepArithmetic


@dataclass(frozen=True)
class Length:
    """The length of one card: optimizer steps, of which every `stage`-th saves and paints.

    `looks` is how often each picture is then seen, `held` whether floor or cap decided that.
    """

    steps: int
    stage: int
    looks: int
    held: str = ""


def wanted_looks(goal: Goal, card: Card, num_pictures: int, factor: float = 1.0) -> tuple[int, str]:
    """Return how many looks at all pictures together, and "floor" or "cap" if that decided.

    The length follows the number of pictures within bounds: two pictures are not enough for the
    usual looks to teach anything, and of a thousand pictures of one person each needs fewer.
    """
    assert num_pictures > 0, "there is something to look at"
    wanted = goal.looks * num_pictures
    held = "floor" if wanted < goal.floor else "cap" if wanted > goal.cap else ""
    kept = min(max(wanted, goal.floor), goal.cap)
    return max(1, round(kept * CARDS[card] * factor)), held


def length_of(
    goal: Goal,
    card: Card,
    num_pictures: int,
    num_shown: int,
    arithmetic: StepArithmetic,
    factor: float = 1.0,
) -> Length:
    """Return the length for a data set of which a pass shows `num_shown` pictures (with repeats,
    without those of the class) in `arithmetic.steps_per_epoch` steps."""
    looks, held = wanted_looks(goal, card, num_pictures, factor)
    per_step = num_shown / max(1, arithmetic.steps_per_epoch)
    stage = max(1, -(-round(looks / per_step) // STAGES))
    steps = stage * STAGES
    return Length(steps, stage, round(steps * per_step / num_pictures), held)
