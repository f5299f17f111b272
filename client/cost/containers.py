"""How many containers an app has, on average, under a load: closed formulas."""

import math
from dataclasses import dataclass

import numpy as np

NEGLIGIBLE = 1e-9
"""Containers that are there for a smaller part of the time are not counted."""


@dataclass(frozen=True)
class Scaling:
    """How Modal scales an app's containers; as in `shared.service_settings.ServiceSettings`."""

    calls_at_once: int
    window_s: float
    min_containers: int = 0
    max_containers: int = 10
    buffer_containers: int = 0


@dataclass(frozen=True)
class Arrivals:
    """Conversations that begin independently of each other (a Poisson process), each of `turns` turns at a
    steady pace: one every `turn_s`."""

    turns_per_hour: float
    turns: int = 1
    turn_s: float = 0.0

    @property
    def turns_per_s(self) -> float:
        """Turns of all conversations, a second."""
        return self.turns_per_hour / 3600


@dataclass(frozen=True)
class Containers:
    """Averages over time."""

    alive: float
    """Containers that run, and are paid for."""
    working: float
    """Those of them that work on a call, or more."""
    cold_starts_per_hour: float
    saturated: bool
    """The load is more than the maximum of containers can work off."""


def expected_containers(
    scaling: Scaling, arrivals: Arrivals, *, busy_s: float, held_s: float, start_s: float = 0.0
) -> Containers:
    """The containers of an app in which a turn takes the place of one call for `busy_s`, and which it keeps
    from scaling down for `held_s` (no less) and the scaledown window after it. A cold start takes `start_s`.

    A turn takes a place in the first container that has one, so that container j + 1 works only while more
    than j k turns are at work, k being the places of each. No turn waits for a place. With l turns a second:

    - The number N of turns at work has the Poisson distribution with the mean a = l busy_s (exact: the queue
      M/G/infinity). While N <= j k, it rises above that l B times a second, where
      B = P(N = j k) / P(N <= j k) is Erlang's loss formula.
    - Container j + 1 is absent if N <= j k, and that has been so for the time that it waits,
      w = held_s - busy_s + window_s: of the time P(N <= j k) exp(-l B w). That is exact for the first
      container, exp(-l (held_s + window_s)). For others it takes each rise to come by itself, though they
      come in bursts, which keep fewer containers alive: it is on the high side.
    - Turns of a conversation do not overlap. So the same holds with conversations in place of turns, which
      last from the begin of their first turn to the end of the work on their last. The smaller figure of the
      two is taken, which is exact for the first container: that of conversations if none of their pauses is
      longer than w, else that of turns.
    - An absent container has l B cold starts a second. Each takes `start_s`, by which all else is late: the
      absences shrink by the factor 1 + start_s * (cold starts a second). That is exact for the first
      container and conversations of one turn, and good where a window is long against a start.
    - Minimum containers always run. Buffer containers run while the first one does. There are never more
      than `max_containers`, or than the minimum.
    """
    wait_s, per_s = held_s - busy_s + scaling.window_s, arrivals.turns_per_s
    turns = _Level(per_s, busy_s)
    conversations = _Level(per_s / arrivals.turns, (arrivals.turns - 1) * arrivals.turn_s + busy_s)
    at_most = max(scaling.max_containers, scaling.min_containers)
    alive = working = cold_starts_per_s = first = 0.0
    for index in range(at_most):
        places = index * scaling.calls_at_once
        absent, rises_per_s = max(level.absent(places, wait_s) for level in (turns, conversations))
        slowed = 1 + absent * rises_per_s * start_s
        runs = 1 - absent / slowed
        first = first or runs
        if runs < NEGLIGIBLE and index >= scaling.min_containers:
            break
        working += turns.above(places)
        alive += 1 if index < scaling.min_containers else runs
        cold_starts_per_s += 0 if index < scaling.min_containers else absent * rises_per_s / slowed
    return Containers(
        alive=min(alive + scaling.buffer_containers * first, at_most),
        working=working,
        cold_starts_per_hour=cold_starts_per_s * 3600,
        saturated=per_s * busy_s > at_most * scaling.calls_at_once,
    )


class _Level:
    """The number of turns, or of conversations, under way: `per_s` begin a second, each lasts `lasting_s`."""

    def __init__(self, per_s: float, lasting_s: float) -> None:
        self._per_s = per_s
        mean = per_s * lasting_s
        numbers = np.arange(int(mean + 12 * math.sqrt(mean) + 30))
        log_factorials = np.concatenate(([0.0], np.cumsum(np.log(numbers[1:]))))
        powers = numbers * math.log(mean) if mean else np.where(numbers, -np.inf, 0.0)
        self._exactly = np.exp(powers - mean - log_factorials)
        self._at_most = np.minimum(np.cumsum(self._exactly), 1.0)
        self._above = np.concatenate((np.cumsum(self._exactly[:0:-1])[::-1], [0.0]))

    def above(self, number: int) -> float:
        """How likely there are more than so many."""
        return float(self._above[number]) if number < len(self._above) else 0.0

    def absent(self, number: int, wait_s: float) -> tuple[float, float]:
        """How likely there have not been more than so many for a time, and how often there are again, in a
        second of such a time."""
        if number >= len(self._exactly):
            return 1.0, 0.0
        if not self._at_most[number]:  # too unlikely for a float
            return 0.0, self._per_s
        rises_per_s = float(self._per_s * self._exactly[number] / self._at_most[number])
        return float(self._at_most[number]) * math.exp(-rises_per_s * wait_s), rises_per_s
