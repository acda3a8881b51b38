"""Measures of the starter's quality, and the table that shows them beside their bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNITS = {"%": 1, "dB": 1, "": 3}  # and the decimals that are shown


@dataclass(frozen=True)
class Figure:
    """One measured value; `bar` is the least it must be, None for what is only told."""

    part: str
    what: str
    value: float
    bar: float | None = None
    unit: str = "%"

    @property
    def missed(self) -> bool:
        """Whether the value lies below its bar."""
        return self.bar is not None and not self.value >= self.bar

    def shown(self, value: float) -> str:
        """Return a value with its unit, rounded down so that no miss looks like a hit."""
        scale = 10 ** UNITS[self.unit]
        number = f"{math.floor(value * scale + 1e-9) / scale:.{UNITS[self.unit]}f}"
        return f"{number} {self.unit}".strip()

    def line(self) -> str:
        """Return the figure in words, with what became of its bar."""
        text = f"{self.part}: {self.what}: {self.shown(self.value)}"
        if self.bar is None:
            return text
        return f"{text} ({'MISSED' if self.missed else 'reached'}: at least {self.shown(self.bar)})"


def markdown(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table."""
    rows = ["| part | measured | value | bar |", "|---|---|---|---|"]
    for figure in figures:
        bar = "" if figure.bar is None else f"≥ {figure.shown(figure.bar)}"
        value = figure.shown(figure.value)
        value = f"**{value} (missed)**" if figure.missed else value
        rows.append(f"| {figure.part} | {figure.what} | {value} | {bar} |")
    return "\n".join(rows) + "\n"


def percent(right: Sequence[bool]) -> float:
    """Return the share of true values, in percent; NaN of none."""
    return 100 * sum(right) / len(right) if right else math.nan


def psnr(made: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio in dB of pictures with values 0 to 255.

    10 log10(255² / MSE), the mean over all pictures and channels; infinite if they are equal.
    """
    error = float(np.mean((made.astype(np.float64) - wanted.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def f1_by_tag(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the F1 of each tag, of what was said and what is true [N, T].

    2 TP / (2 TP + FP + FN); NaN for a tag that is never true and never said.
    """
    hits = (said & true).sum(0)
    wrong = (said ^ true).sum(0)
    with np.errstate(invalid="ignore"):
        values: NDArray[np.float64] = 2 * hits / (2 * hits + wrong)
    return values


def macro_f1(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Return the mean of the tags' F1, leaving out tags that never occur."""
    return float(np.nanmean(f1_by_tag(said, true)))


def between_markers(text: str, marker: str, content: str) -> str:
    """Replace what stands between `<!-- marker: begin -->` and `<!-- marker: end -->`.

    Raises `ValueError` if the markers are not there, once each and in this order.
    """
    begin, end = f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"“{begin}” and “{end}” must stand there once, in this order")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{content}{end}{rest.split(end)[1]}"
