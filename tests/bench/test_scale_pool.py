"""The simulated containers of one app: queueing theory where the rules come down to it, then rule by rule."""

import math
import random
from collections.abc import Iterator

import pytest
import simpy

from bench.scale.pool import MAX_PENDING, Pool
from bench.scale.turn import Steps
from client.cost.containers import Arrivals, Scaling, expected_containers


def pool_of(
    env: simpy.Environment, scaling: Scaling, *, max_inputs: int | None = None, start_s: float = 10.0
) -> Pool:
    return Pool(env, scaling, max_inputs=max_inputs or scaling.calls_at_once, start_s=start_s)


def calling(env: simpy.Environment, pool: Pool, service_s: float, waits_s: list[float]) -> Steps:
    asked_s = env.now
    container = pool.take() or (yield pool.wait())
    assert container is not None
    waits_s.append(env.now - asked_s)
    yield env.timeout(service_s)
    pool.end(container)


def poisson(
    env: simpy.Environment, pool: Pool, per_s: float, services_s: Iterator[float], waits_s: list[float]
) -> Steps:
    chance = random.Random(20261128)
    for service_s in services_s:
        yield env.timeout(chance.expovariate(per_s))
        env.process(calling(env, pool, service_s, waits_s))


def calls_at(env: simpy.Environment, pool: Pool, service_s: float, *times_s: float) -> list[float]:
    """Waits of calls that come at these times, once all that follows has happened for an hour."""
    waits_s: list[float] = []

    def later(at_s: float) -> Steps:
        yield env.timeout(at_s)
        yield from calling(env, pool, service_s, waits_s)

    for at_s in times_s:
        env.process(later(at_s))
    env.run(env.now + 3600)
    return waits_s


# Queueing theory


def erlang_c_wait_s(servers: int, per_s: float, service_s: float) -> float:
    """The mean wait of M/M/c."""
    work = per_s * service_s
    terms = [work**busy / math.factorial(busy) for busy in range(servers + 1)]
    waiting = terms[servers] * servers / (servers - work)
    return waiting / (sum(terms[:servers]) + waiting) * service_s / (servers - work)


@pytest.mark.parametrize(("servers", "work"), [(1, 0.6), (4, 3.0)])
def test_a_fixed_number_of_containers_waits_as_erlangs_formula_says(servers: int, work: float) -> None:
    env, chance, waits_s = simpy.Environment(), random.Random(1), list[float]()
    pool = pool_of(env, Scaling(1, 60, min_containers=servers, max_containers=servers))
    services_s = (chance.expovariate(1.0) for _ in range(40_000))
    env.process(poisson(env, pool, work, services_s, waits_s))
    env.run()
    expected_s = erlang_c_wait_s(servers, work, 1.0)
    assert sum(waits_s) / len(waits_s) == pytest.approx(expected_s, rel=0.07)


@pytest.mark.parametrize("turns_per_hour", [4, 30])
def test_one_container_is_alive_and_starts_as_the_cost_formula_says(turns_per_hour: float) -> None:
    env, scaling, count = simpy.Environment(), Scaling(100, 300), 4000
    pool = pool_of(env, scaling, start_s=30.0)
    env.process(poisson(env, pool, turns_per_hour / 3600, iter([10.0] * count), []))
    env.run()
    expected = expected_containers(scaling, Arrivals(turns_per_hour), busy_s=10, held_s=10, start_s=30)
    usage = pool.usage()
    assert usage.alive == pytest.approx(expected.alive, rel=0.03)
    assert usage.starts / env.now * 3600 == pytest.approx(expected.cold_starts_per_hour, rel=0.06)


# The rules


def test_without_a_call_only_the_minimum_runs() -> None:
    env = simpy.Environment()
    pool = pool_of(env, Scaling(1, 60, min_containers=2, buffer_containers=3))
    env.run(1000)
    usage = pool.usage()
    assert (usage.alive, usage.most, usage.starts) == (2, 2, 0)


def test_a_call_without_a_container_waits_for_its_start_and_the_next_for_nothing() -> None:
    env = simpy.Environment()
    assert calls_at(env, pool_of(env, Scaling(1, 60)), 5.0, 0.0, 40.0) == [10, 0]


def test_a_container_stops_once_it_has_been_idle_for_the_window() -> None:
    env = simpy.Environment()
    pool = pool_of(env, Scaling(1, 60))
    calls_at(env, pool, 5.0, 0.0, 40.0)
    assert pool.usage().alive * 3600 == pytest.approx(40 + 5 + 60)


def test_a_call_in_the_queue_takes_the_first_container_that_is_free_of_old_and_new() -> None:
    env = simpy.Environment()
    pool = pool_of(env, Scaling(1, 60))
    assert calls_at(env, pool, 5.0, 0.0, 12.0) == [10, 3], "the first ends at 15, the second starts till 22"
    assert pool.usage().starts == 2


def test_there_are_never_more_than_the_maximum() -> None:
    env = simpy.Environment()
    pool = pool_of(env, Scaling(1, 60, max_containers=2))
    assert calls_at(env, pool, 5.0, *[0.0] * 4) == [10, 10, 15, 15]
    assert pool.usage().most == 2


def test_a_container_bursts_above_its_target_only_where_no_other_has_room() -> None:
    env = simpy.Environment()
    pool = pool_of(env, Scaling(2, 60, min_containers=2, max_containers=2), max_inputs=3)
    env.run(1)
    taken = [pool.take() for _ in range(7)]
    assert [one.number if one else None for one in taken] == [1, 1, 2, 2, 1, 2, None]


def test_the_oldest_container_works_so_that_the_newest_can_stop() -> None:
    env = simpy.Environment()
    pool = pool_of(env, Scaling(1, 60, max_containers=5))
    every_30_s = [20.0 + 30 * number for number in range(100)]
    calls_at(env, pool, 5.0, 0.0, 0.0, 0.0, *every_30_s)
    alive_s = pool.usage().alive * 3600
    assert alive_s == pytest.approx(20 + 30 * 99 + 5 + 60 + 2 * (15 + 60))


def test_buffer_containers_run_while_there_are_calls_and_are_not_replaced() -> None:
    env = simpy.Environment()
    pool = pool_of(env, Scaling(1, 60, buffer_containers=2))
    calls_at(env, pool, 600.0, 0.0)
    usage = pool.usage()
    assert (usage.most, usage.starts) == (3, 3)
    assert usage.alive * 3600 == pytest.approx(3 * 610 + 60, abs=1), (
        "two stop at its end, one after the window"
    )


def test_what_is_more_than_modal_lets_wait_is_refused() -> None:
    env = simpy.Environment()
    pool = pool_of(env, Scaling(1, 60, max_containers=1))
    waiting = [pool.wait() for _ in range(MAX_PENDING + 1)]
    env.run(1)
    assert [one.triggered for one in (waiting[0], waiting[-1])] == [False, True]
    assert waiting[-1].value is None
