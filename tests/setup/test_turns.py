"""Benchmarks whose sides take turns: every way of taking them counts both kinds of seconds."""

from __future__ import annotations

import pytest

from tools import bench_trainers
from tools.bench_trainers import SMALL_OPTIMIZERS, in_turns, one_after_another, peaks, within_one

RATIOS = ("ratio", "processor_ratio", "memory_ratio")


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides that do next to nothing, instead of training."""
    monkeypatch.setattr(bench_trainers, "WORKER", "tests.support.idle_side")


@pytest.mark.parametrize("way", ["turns", "anew", "one"])
def test_two_sides_are_compared_by_the_clock_and_by_the_processor(way: str) -> None:
    match way:
        case "turns":
            found = in_turns("ti", [], 2, 3)
        case "anew":
            found = one_after_another("sdxl", [], 2, 3)
        case _:
            found = within_one([], 2, 3)
    assert all(found[ratio] > 0 for ratio in RATIOS)
    assert found["ratio"] == found["ours_seconds"] / found["bare_seconds"]
    assert found["ours_peak_gb"] > 0


def test_the_peaks_of_optimizers_are_told_with_their_seconds() -> None:
    found = peaks([], 2)
    assert set(found) == {
        f"{optimizer}_{what}" for optimizer in SMALL_OPTIMIZERS for what in ("peak_gb", "seconds")
    }
    assert min(found.values()) > 0
