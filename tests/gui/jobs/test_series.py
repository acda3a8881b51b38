"""Curves: smoothed as the formula says, thinned without losing peaks, right after a resume."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kohya_gui.jobs.feed import MAX_WARNINGS, RunFeed
from kohya_gui.jobs.series import Series, thin
from sd_scripts.runs.events import (
    EndEvent,
    EventWriter,
    PhaseEvent,
    SampleEvent,
    SaveEvent,
    StartEvent,
    StepEvent,
    ValidationEvent,
    WarningEvent,
)

START = StartEvent(total_steps=9, num_epochs=1, num_images=2, family="sd1", trainable_parameters=3)


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400),
    max_points=st.integers(4, 60),
)
def test_thinning_keeps_ends_peaks_and_order(values: list[float], max_points: int) -> None:
    steps = list(range(10, 10 + len(values)))
    curve = thin(steps, values, max_points)
    assert len(curve.steps) == len(curve.values) <= max(max_points, min(len(values), 4))
    assert curve.steps[0] == steps[0]
    assert curve.steps[-1] == steps[-1]
    assert list(curve.steps) == sorted(set(curve.steps))
    assert min(curve.values) == min(values)
    assert max(curve.values) == max(values)
    assert all(values[step - 10] == value for step, value in zip(*_pair(curve), strict=True))


def _pair(curve: object) -> tuple[tuple[int, ...], tuple[float, ...]]:
    return curve.steps, curve.values  # type: ignore[attr-defined]


def test_a_short_curve_is_left_alone() -> None:
    assert thin([1, 2], [0.5, 0.25]).values == (0.5, 0.25)
    assert thin([], []).steps == ()


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=50), st.floats(0, 0.99))
def test_smoothing_is_the_weighted_mean_of_all_so_far(
    losses: list[float], smoothing: float
) -> None:
    series = Series(smoothing)
    for step, loss in enumerate(losses, 1):
        series.add_step(step, loss, {})
    weights = [smoothing ** (len(losses) - 1 - n) for n in range(len(losses))]
    mean = sum(w * x for w, x in zip(weights, losses, strict=True)) / sum(weights)
    assert series.chart().smoothed.values[-1] == pytest.approx(mean, abs=1e-9)
    assert series.chart().smoothed.values[0] == pytest.approx(losses[0])


def test_a_resumed_run_replaces_what_came_after_its_state() -> None:
    straight, resumed = Series(), Series()
    for step in range(1, 21):
        straight.add_step(step, 1 / step, {"unet": step * 1e-5})
    for step in range(1, 15):
        resumed.add_step(step, 1 / step if step <= 10 else 99.0, {"unet": step * 1e-5})
    for step in range(11, 21):
        resumed.add_step(step, 1 / step, {"unet": step * 1e-5})
    one, other = straight.chart(), resumed.chart()
    assert one.loss == other.loss
    assert one.rates == other.rates
    assert other.smoothed.values == pytest.approx(one.smoothed.values)


def test_losses_that_are_no_numbers_are_counted_not_drawn() -> None:
    series = Series()
    for step, loss in enumerate([1.0, math.nan, math.inf, 0.5], 1):
        series.add_step(step, loss, {"unet": 1e-4})
    chart = series.chart()
    assert chart.loss.steps == (1, 4)
    assert chart.num_not_finite == 2
    assert chart.rates["unet"].steps == (1, 2, 3, 4)
    series.add_step(2, 0.75, {"unet": 1e-4})
    assert series.chart().loss.steps == (1, 2)
    assert series.chart().num_not_finite == 0


def test_many_points_become_few() -> None:
    series = Series()
    for step in range(1, 30_001):
        series.add_step(step, 100.0 if step == 17_777 else 0.1, {"unet": 1.0})
    chart = series.chart(1000)
    assert len(chart.loss.steps) <= 1000
    assert 17_777 in chart.loss.steps
    assert len(series) == 30_000


def test_a_feed_gathers_what_a_run_tells(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    feed = RunFeed(path)
    assert not feed.poll()
    sample = SampleEvent(path="a.png", prompt="p", seed=1, step=1)
    save = SaveEvent(path="x", step=1)
    warning = WarningEvent(text="slow")
    with EventWriter(path) as events:
        for event in (
            PhaseEvent(name="model"),
            START,
            StepEvent(step=1, epoch=1, loss=0.5, lr={"unet": 1e-4}),
            sample,
            save,
            warning,
            warning,
            ValidationEvent(step=1, epoch=1, loss=0.75),
        ):
            events.emit(event)
        assert feed.poll()
        assert not feed.poll()
        assert feed.samples == (sample,)
        assert feed.saves == (save,)
        assert feed.warnings == (warning,)
        assert feed.start == START
        assert feed.end is None
        assert feed.phase is not None
        chart = feed.chart()
        assert chart.loss.values == (0.5,)
        assert chart.rates["unet"].values == (1e-4,)
        assert chart.validation.values == (0.75,)
        events.emit(EndEvent(status="finished"))
        assert feed.poll()
        assert feed.end is not None
        events.emit(START)
        feed.poll()
        assert feed.end is None


def test_a_feed_of_a_replaced_file_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as events:
        for step in range(1, 20):
            events.emit(StepEvent(step=step, epoch=1, loss=1.0))
    feed = RunFeed(path)
    feed.poll()
    path.write_text(StepEvent(step=1, epoch=1, loss=2.0).model_dump_json() + "\n")
    assert feed.poll()
    assert feed.chart().loss.values == (2.0,)


def test_warnings_without_end_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as events:
        for number in range(MAX_WARNINGS + 50):
            events.emit(WarningEvent(text=f"picture {number}"))
    feed = RunFeed(path)
    feed.poll()
    assert len(feed.warnings) == MAX_WARNINGS
