"""One definition of a percentile."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.metrics.percentile import percentile

values = st.lists(st.integers(0, 10**12), min_size=1)
percents = st.integers(1, 99)


@given(values, percents)
def test_a_percentile_lies_between_the_least_and_the_greatest(values: list[int], percent: int) -> None:
    assert min(values) <= percentile(values, percent) <= max(values)


@given(values, percents, percents)
def test_a_higher_percentile_is_not_lower(values: list[int], one: int, other: int) -> None:
    low, high = sorted([one, other])
    assert percentile(values, low) <= percentile(values, high)


@given(values)
def test_the_50th_is_the_median(values: list[int]) -> None:
    assert percentile(values, 50) == statistics.median(values)


def test_it_is_interpolated_between_neighbours() -> None:
    assert percentile([0, 100], 95) == 95
    assert percentile([30, 10, 20], 75) == 25


def test_of_nothing_there_is_none() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
