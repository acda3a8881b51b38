"""Curves of a run for charts: kept as they come, smoothed without bias, thinned without loss of
peaks."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MAX_POINTS: Final = 1000
SMOOTHING: Final = 0.98


@dataclass(frozen=True)
class Curve:
    """Points of one line, in order of steps; values are finite."""

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Chart:
    """What the run view draws. `num_not_finite` losses were left out of both loss curves."""

    loss: Curve = Curve()
    smoothed: Curve = Curve()
    rates: Mapping[str, Curve] = field(default_factory=dict)
    validation: Curve = Curve()
    num_not_finite: int = 0


def thin(steps: Sequence[int], values: Sequence[float], max_points: int = MAX_POINTS) -> Curve:
    """Return at most `max_points` (at least 4) of the points, with every peak that can be seen.

    The points are cut into equal spans; of each the lowest and the highest stay, and the first
    and the last point of all.
    """
    count = len(steps)
    if count <= max_points:
        return Curve(tuple(steps), tuple(values))
    num_spans = max(1, (max_points - 2) // 2)
    kept = [0]
    for number in range(num_spans):
        begin = 1 + number * (count - 2) // num_spans
        end = 1 + (number + 1) * (count - 2) // num_spans
        span = values[begin:end]
        lowest, highest = span.index(min(span)), span.index(max(span))
        kept += sorted({begin + lowest, begin + highest})
    kept.append(count - 1)
    return Curve(tuple(steps[at] for at in kept), tuple(values[at] for at in kept))


class _Line:
    """Points of one line in compact arrays; steps go up."""

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")

    def cut_from(self, step: int) -> int:
        """Drop the points from `step` on; return how many stay."""
        place = bisect_left(self.steps, step)
        del self.steps[place:], self.values[place:]
        return place

    def add(self, step: int, value: float) -> None:
        if self.steps and step <= self.steps[-1]:
            self.cut_from(step)
        self.steps.append(step)
        self.values.append(value)

    def thinned(self, max_points: int) -> Curve:
        return thin(self.steps, self.values, max_points)


class Series:
    """All curves of one run. A step that goes back (a run that was resumed from an earlier state)
    takes the place of what came after it before."""

    def __init__(self, smoothing: float = SMOOTHING) -> None:
        """`smoothing` from 0 (none) to below 1: the weight of the past in the moving mean."""
        assert 0 <= smoothing < 1, "smoothing must be from 0 to below 1"
        self.smoothing = smoothing
        self._loss = _Line()
        self._smoothed = _Line()
        self._rates: dict[str, _Line] = {}
        self._validation = _Line()
        self._not_finite = array("q")

    def __len__(self) -> int:
        return len(self._loss.steps)

    def add_step(self, step: int, loss: float, rates: Mapping[str, float]) -> None:
        """Take one step's loss and learning rates."""
        if (self._loss.steps and step <= self._loss.steps[-1]) or (
            self._not_finite and step <= self._not_finite[-1]
        ):
            self._go_back(step)
        for name, rate in rates.items():
            if math.isfinite(rate):
                self._rates.setdefault(name, _Line()).add(step, rate)
        if not math.isfinite(loss):
            self._not_finite.append(step)
            return
        # Exponential moving mean, divided by the sum of its weights so far: without that it
        # would begin near zero (Kingma and Ba 2015, section 3, "initialization bias").
        count = len(self._smoothed.values)
        past = self._smoothed.values[-1] * (1 - self.smoothing**count) if count else 0.0
        mean = self.smoothing * past + (1 - self.smoothing) * loss
        self._loss.add(step, loss)
        self._smoothed.add(step, mean / (1 - self.smoothing ** (count + 1)))

    def add_validation(self, step: int, loss: float) -> None:
        """Take a loss on held-out pictures."""
        if math.isfinite(loss):
            self._validation.add(step, loss)

    def _go_back(self, step: int) -> None:
        for line in (self._loss, self._smoothed, self._validation, *self._rates.values()):
            line.cut_from(step)
        del self._not_finite[bisect_left(self._not_finite, step) :]

    def chart(self, max_points: int = MAX_POINTS) -> Chart:
        """Return the curves, each thinned to `max_points`."""
        return Chart(
            loss=self._loss.thinned(max_points),
            smoothed=self._smoothed.thinned(max_points),
            rates={name: line.thinned(max_points) for name, line in self._rates.items()},
            validation=self._validation.thinned(max_points),
            num_not_finite=len(self._not_finite),
        )
