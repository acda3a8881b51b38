"""The arithmetic of the starter's evaluation table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tools.starter.measures import (
    Figure,
    between_markers,
    f1_by_tag,
    macro_f1,
    markdown,
    percent,
    psnr,
)


def test_f1_of_each_tag() -> None:
    """2 TP / (2 TP + FP + FN); a tag that never occurs has none and does not count."""
    true = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)
    said = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=bool)
    values = f1_by_tag(said, true)
    assert values[:3].tolist() == pytest.approx([4 / 5, 2 / 3, 0.0])
    assert math.isnan(values[3])
    assert macro_f1(said, true) == pytest.approx((4 / 5 + 2 / 3) / 3)


def test_psnr() -> None:
    """10 log10(255² / MSE), over all pictures together."""
    black = np.zeros((2, 4, 4, 3), np.uint8)
    one_off = black.copy()
    one_off[0] = 2
    assert psnr(black, black) == math.inf
    assert psnr(black, black + 255) == pytest.approx(0.0, abs=1e-9)
    assert psnr(one_off, black) == pytest.approx(10 * math.log10(255**2 / 2))


def test_percent() -> None:
    """Of nothing there is no share, and no share reaches no bar."""
    assert percent([True, False, True, True]) == 75
    assert math.isnan(percent([]))
    assert Figure("judge", "size", percent([]), 0).missed


@pytest.mark.parametrize(
    ("value", "bar", "missed", "shown"),
    [(98.0, 98, False, "98.0 %"), (97.99, 98, True, "97.9 %"), (12.0, None, False, "12.0 %")],
)
def test_a_miss_never_looks_like_a_hit(
    value: float, bar: float | None, missed: bool, shown: str
) -> None:
    """Values are rounded down."""
    figure = Figure("judge", "subject right", value, bar)
    assert figure.missed is missed
    assert figure.shown(value) == shown
    assert ("MISSED" in figure.line()) is missed
    assert ("**" in markdown([figure])) is missed


def test_the_table() -> None:
    """A row a figure, in its own unit."""
    table = markdown(
        [Figure("tagger", "macro F1", 0.9954, 0.9, ""), Figure("vae", "PSNR", 27, 26, "dB")]
    )
    assert "| tagger | macro F1 | 0.995 | ≥ 0.900 |" in table
    assert "| vae | PSNR | 27.0 dB | ≥ 26.0 dB |" in table


def test_only_what_stands_between_the_markers_changes() -> None:
    """And the markers stay, so that it can be done again."""
    text = "before\n<!-- it: begin -->\nold\n<!-- it: end -->\nafter\n"
    once = between_markers(text, "it", "new\n")
    assert once == "before\n<!-- it: begin -->\nnew\n<!-- it: end -->\nafter\n"
    assert between_markers(once, "it", "old\n") == text


@pytest.mark.parametrize(
    "text",
    ["", "<!-- it: begin -->", "<!-- it: end --><!-- it: begin -->", "<!-- it: begin -->" * 2],
)
def test_missing_markers_are_told(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="must stand there once"):
        between_markers(text, "it", "new")
