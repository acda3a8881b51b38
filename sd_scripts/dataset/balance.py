"""How often regularisation pictures are shown: as often as all the others together."""

from __future__ import annotations

from collections.abc import Sequence


def balance_repeats(num_train_images: int, repeats: Sequence[int]) -> list[int]:
    """Repeats of each regularisation picture, in order; 0 for those that are not needed.

    `num_train_images` counts the other pictures with their repeats. Pictures are taken with the
    repeats they came with until there are enough; when all of them are too few, each gets one
    repeat more in turn until the numbers are equal.
    """
    balanced, taken = [], 0
    for own in repeats:
        used = own if taken < num_train_images else 0
        balanced.append(used)
        taken += used
    lacking = num_train_images - taken
    if lacking > 0 and balanced:
        rounds, rest = divmod(lacking, len(balanced))
        for position in range(len(balanced)):
            balanced[position] += rounds + (position < rest)
    return balanced
