"""Step counts: the formula people compare, and the sentence that explains it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.dataset.steps import step_arithmetic
from tests.dataset.make import plan_of

SQUARE, WIDE = (512, 512), (768, 320)


def test_the_arithmetic_is_told_in_one_line():
    steps = step_arithmetic(
        plan_of((4, [(SQUARE, 10)] * 24)), max_train_steps=1600, max_train_epochs=10
    )
    assert (steps.batches_per_epoch, steps.steps_per_epoch) == (60, 60)
    assert (steps.num_epochs, steps.total_steps) == (10, 600)
    assert steps.text == (
        "24 pictures × 10 repeats = 240 a pass → 60 batches of 4"
        " → 60 steps an epoch × 10 epochs = 600 steps"
    )


def test_each_bucket_has_a_short_last_batch():
    steps = step_arithmetic(
        plan_of((4, [(SQUARE, 5), (WIDE, 5)])), max_train_steps=None, max_train_epochs=1
    )
    assert steps.batches_per_epoch == 4
    assert "4 batches of up to 4" in steps.text


def test_steps_that_cut_the_last_epoch_short():
    steps = step_arithmetic(
        plan_of((1, [(SQUARE, 1)] * 7)), max_train_steps=24, max_train_epochs=None
    )
    assert (steps.num_epochs, steps.total_steps) == (4, 24)
    assert steps.text == (
        "7 pictures × 1 repeat = 7 a pass → 7 batches of 1"
        " → 7 steps an epoch; 24 steps = 4 epochs, the last one ends after 3 steps"
    )


def test_without_epochs_and_steps_it_is_1600_steps():
    steps = step_arithmetic(
        plan_of((1, [(SQUARE, 16)])), max_train_steps=None, max_train_epochs=None
    )
    assert (steps.total_steps, steps.num_epochs) == (1600, 100)


def test_several_processes_and_accumulation_are_told():
    steps = step_arithmetic(
        plan_of((2, [(SQUARE, 10)] * 10)),
        max_train_steps=None,
        max_train_epochs=2,
        gradient_accumulation_steps=4,
        num_processes=2,
    )
    assert (steps.steps_per_epoch, steps.total_steps) == (7, 14)
    assert steps.text.endswith(
        " batches of 2 ÷ 2 processes ÷ 4 accumulated → 7 steps an epoch × 2 epochs = 14 steps"
    )


def test_different_repeats_datasets_and_regularisation_are_added_up():
    plan = plan_of((2, [(SQUARE, 2), (WIDE, 10)]), (1, [(SQUARE, 2)]))
    text = step_arithmetic(plan, max_train_steps=None, max_train_epochs=1).text
    assert text.startswith(
        "1 picture × 10 repeats + 2 pictures × 2 repeats = 14 a pass"
        " → 6 batches of 2 + 2 batches of 1 →"
    )
    with_reg = plan_of((2, [(SQUARE, 4)]), num_reg_images=2)
    assert (
        "+ 2 regularisation = 4 a pass"
        in step_arithmetic(with_reg, max_train_steps=None, max_train_epochs=1).text
    )


@pytest.mark.parametrize("max_train_epochs", [None, 3])
def test_no_pictures_are_no_steps(max_train_epochs):
    steps = step_arithmetic(plan_of((4, [])), max_train_steps=9, max_train_epochs=max_train_epochs)
    assert (steps.total_steps, steps.num_epochs, steps.steps_per_epoch) == (0, 0, 0)
    assert steps.text == "no pictures → no steps"


@given(
    st.integers(1, 500),
    st.integers(1, 8),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 3000),
)
def test_the_formula_is_the_known_one(repeats, batch_size, accumulation, processes, steps_asked):
    plan = plan_of((batch_size, [(SQUARE, repeats)]))
    loader_length = math.ceil(repeats / batch_size)
    told = step_arithmetic(
        plan,
        max_train_steps=steps_asked,
        max_train_epochs=None,
        gradient_accumulation_steps=accumulation,
        num_processes=processes,
    )
    # each process sees ceil(length / processes) batches and updates once for `accumulation`
    own_batches = math.ceil(loader_length / processes)
    assert told.steps_per_epoch == math.ceil(own_batches / accumulation)
    assert told.num_epochs == math.ceil(steps_asked / told.steps_per_epoch)
    assert told.total_steps == steps_asked
