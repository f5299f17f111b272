"""How many containers a load keeps alive: the formulas against a simulation, and what must hold of them."""

import heapq
import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.cost.containers import Arrivals, Containers, Scaling, expected_containers

MANY = 10_000
"""Of containers: more than any load here needs."""

HELD_S = 10.0
"""How long a turn lasts."""

windows_s = st.floats(2, 3600)
scalings = st.builds(
    Scaling,
    calls_at_once=st.integers(1, 100),
    window_s=windows_s,
    min_containers=st.integers(0, 5),
    max_containers=st.integers(1, 20),
    buffer_containers=st.integers(0, 3),
)
arrivals = st.builds(
    Arrivals, turns_per_hour=st.floats(0.01, 1e5), turns=st.integers(1, 50), turn_s=st.floats(10, 120)
)
works_s = st.floats(0, 10)


def containers(scaling: Scaling, load: Arrivals, busy_s: float, start_s: float = 0.0) -> Containers:
    return expected_containers(scaling, load, busy_s=busy_s, held_s=HELD_S, start_s=start_s)


# Exact cases


def test_one_container_is_alive_while_a_turn_or_its_window_is_not_over() -> None:
    alive = containers(Scaling(100, 290), Arrivals(12), busy_s=10)
    assert alive.alive == pytest.approx(1 - math.exp(-12 * 300 / 3600))
    assert alive.cold_starts_per_hour == pytest.approx(12 * math.exp(-12 * 300 / 3600))


def test_a_conversation_keeps_it_alive_from_its_first_turn_to_the_window_after_its_last() -> None:
    alive = containers(Scaling(100, 290), Arrivals(12, turns=6, turn_s=20), busy_s=10)
    assert alive.alive == pytest.approx(1 - math.exp(-2 * (5 * 20 + 300) / 3600))


def test_turns_that_outlast_the_window_are_turns_by_themselves() -> None:
    scaling = Scaling(100, 2)
    by_themselves = containers(scaling, Arrivals(12), busy_s=5)
    assert containers(scaling, Arrivals(12, turns=6, turn_s=60), busy_s=5) == by_themselves


def test_without_a_window_containers_are_as_many_as_the_work_fills() -> None:
    """On average as many as turns at work, where each takes a container: Little's law."""
    load = Arrivals(3600)
    alive = expected_containers(Scaling(1, 1e-9, max_containers=MANY), load, busy_s=5, held_s=5)
    assert alive.working == pytest.approx(5)
    assert alive.alive == pytest.approx(5)


def test_minimum_containers_are_paid_for_at_rest() -> None:
    rest = containers(Scaling(1, 300, min_containers=2), Arrivals(1e-9), busy_s=3)
    assert rest.alive == pytest.approx(2, abs=1e-6)
    assert rest.cold_starts_per_hour == pytest.approx(0, abs=1e-6)


def test_buffer_containers_are_paid_for_while_there_is_load() -> None:
    scaling, load = Scaling(100, 290), Arrivals(12)
    alone = containers(scaling, load, busy_s=10)
    assert containers(replace(scaling, buffer_containers=2), load, busy_s=10).alive == pytest.approx(
        3 * alone.alive
    )


def test_more_work_than_the_maximum_of_containers_has_places_for_is_reported() -> None:
    scaling = Scaling(2, 300, max_containers=3)
    assert not containers(scaling, Arrivals(3600), busy_s=5.9).saturated
    full = containers(scaling, Arrivals(3600), busy_s=6.1)
    assert full.saturated
    assert full.alive == pytest.approx(3, abs=0.001)


# Against a simulation


def simulated(scaling: Scaling, load: Arrivals, busy_s: float, start_s: float) -> tuple[float, float]:
    """Containers alive on average, and cold starts an hour, over 40,000 turns. A turn goes to the first
    container with a place, running or not; a start delays what waits for it, and a conversation's next turns.
    """
    chance = random.Random(20261127)
    now_s, coming = 0.0, []
    for _ in range(40_000 // load.turns):
        now_s += chance.expovariate(load.turns_per_s / load.turns)
        coming.append((now_s, load.turns))
    ready_s: list[float] = []  # by container, as the next two
    until_s: list[float] = []
    places: list[list[float]] = []
    alive_s, starts = 0.0, 0
    while coming:
        begin_s, turns_left = heapq.heappop(coming)
        for index in itertools.count():
            if index == len(places):
                ready_s.append(0.0)
                until_s.append(-1.0)
                places.append([])
            places[index] = [end_s for end_s in places[index] if end_s > begin_s]
            if len(places[index]) < scaling.calls_at_once:
                break
        if until_s[index] < begin_s:
            starts += 1
            ready_s[index], until_s[index] = begin_s + start_s, begin_s
        work_s = max(begin_s, ready_s[index])
        places[index].append(work_s + busy_s)
        end_s = max(until_s[index], work_s + HELD_S + scaling.window_s)
        alive_s += end_s - until_s[index]
        until_s[index] = end_s
        if turns_left > 1:
            heapq.heappush(coming, (work_s + load.turn_s, turns_left - 1))
    return alive_s / now_s, starts / now_s * 3600


@pytest.mark.parametrize("start_s", [0, 30])
@pytest.mark.parametrize(
    "load", [Arrivals(2), Arrivals(10), Arrivals(60), Arrivals(6, 6, 12), Arrivals(60, 6, 12)], ids=repr
)
def test_one_container_is_as_simulated(load: Arrivals, start_s: float) -> None:
    scaling = Scaling(100, 300)
    alive, starts_per_hour = simulated(scaling, load, 3, start_s)
    expected = containers(scaling, load, 3, start_s)
    assert expected.alive == pytest.approx(alive, rel=0.03)
    assert expected.cold_starts_per_hour == pytest.approx(starts_per_hour, rel=0.05, abs=0.05)


@pytest.mark.parametrize("window_s", [30, 300])
@pytest.mark.parametrize("calls_at_once", [1, 4])
@pytest.mark.parametrize(
    "load",
    [Arrivals(60), Arrivals(600), Arrivals(6000), Arrivals(60, 6, 12), Arrivals(6000, 6, 12)],
    ids=repr,
)
def test_several_containers_are_as_simulated_or_somewhat_more(
    load: Arrivals, calls_at_once: int, window_s: float
) -> None:
    scaling = Scaling(calls_at_once, window_s, max_containers=MANY)
    alive, _ = simulated(scaling, load, 4, 0)
    assert 0.98 * alive < containers(scaling, load, 4).alive < 1.25 * alive


# What holds of any load


@given(scalings, arrivals, works_s, st.floats(0, 60))
def test_there_are_never_fewer_than_the_minimum_or_than_work_nor_more_than_the_maximum(
    scaling: Scaling, load: Arrivals, busy_s: float, start_s: float
) -> None:
    expected = containers(scaling, load, busy_s, start_s)
    at_most = max(scaling.min_containers, scaling.max_containers)
    assert max(scaling.min_containers, expected.working) <= expected.alive + 1e-6
    assert expected.alive <= at_most
    assert expected.cold_starts_per_hour >= 0


@given(scalings, arrivals, works_s, st.floats(1, 100))
def test_more_load_keeps_no_fewer_containers_alive(
    scaling: Scaling, load: Arrivals, busy_s: float, times: float
) -> None:
    more = replace(load, turns_per_hour=load.turns_per_hour * times)
    assert containers(scaling, more, busy_s).alive >= containers(scaling, load, busy_s).alive - 1e-6


@given(scalings, arrivals, works_s, st.floats(1, 100))
def test_a_longer_window_keeps_no_fewer_alive_and_starts_no_more(
    scaling: Scaling, load: Arrivals, busy_s: float, times: float
) -> None:
    short, long = (
        containers(replace(scaling, window_s=window_s), replace(load, turns=1), busy_s)
        for window_s in (scaling.window_s, scaling.window_s * times)
    )
    assert long.alive >= short.alive - 1e-6
    assert long.cold_starts_per_hour <= short.cold_starts_per_hour + 1e-6


@given(scalings, arrivals, works_s, st.floats(0, 600))
def test_a_cold_start_takes_time_that_is_paid_for(
    scaling: Scaling, load: Arrivals, busy_s: float, start_s: float
) -> None:
    assert containers(scaling, load, busy_s, start_s).alive >= containers(scaling, load, busy_s).alive - 1e-9
