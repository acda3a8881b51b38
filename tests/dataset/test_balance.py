"""Regularisation pictures are shown as often as the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.dataset.balance import balance_repeats


@pytest.mark.parametrize(
    ("num_train", "repeats", "balanced"),
    [
        (6, [1, 1, 1], [2, 2, 2]),
        (7, [1, 1, 1], [3, 2, 2]),
        (2, [1, 1, 1], [1, 1, 0]),
        (3, [2, 2, 2], [2, 2, 0]),  # the last one taken may go beyond
        (10, [3, 1], [6, 4]),
        (5, [5], [5]),
        (0, [1, 1], [0, 0]),
        (4, [], []),
    ],
)
def test_known_cases(num_train, repeats, balanced):
    assert balance_repeats(num_train, repeats) == balanced


@given(st.integers(0, 300), st.lists(st.integers(1, 9), max_size=30))
def test_it_is_the_known_loop(num_train, repeats):
    expected, taken, first = [0] * len(repeats), 0, True
    while repeats and taken < num_train:
        for position, own in enumerate(repeats):
            expected[position] += own if first else 1
            taken += own if first else 1
            if taken >= num_train:
                break
        first = False
    assert balance_repeats(num_train, repeats) == expected
