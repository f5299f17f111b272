"""When turns come: the profile of a day, and the parts of it that are simulated."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

HOURS = 24
DAY_S = HOURS * 3600.0
FLAT = (1.0,) * HOURS

ASSUMED = tuple(
    round(1 + 0.8 * math.cos(2 * math.pi * (hour + 0.5 - 15) / HOURS), 2) for hour in range(HOURS)
)
"""The load of each hour against the mean of the day: nobody's measured one, but a wave with its top at 15:00,
nine times its trough at 3:00."""


@dataclass(frozen=True)
class Day:
    """The load by the hour. Between the middles of two hours it changes evenly."""

    weights: tuple[float, ...] = ASSUMED
    """24 of them; only how they compare matters."""

    def factor(self, at_s: float) -> float:
        """The load at a time of the day against the mean."""
        middle = at_s / 3600 - 0.5
        hour, part = math.floor(middle), middle % 1
        before, after = self.weights[hour % HOURS], self.weights[(hour + 1) % HOURS]
        return (before + (after - before) * part) * HOURS / sum(self.weights)

    @property
    def peak(self) -> float:
        """The highest factor."""
        return max(self.weights) * HOURS / sum(self.weights)


@dataclass(frozen=True)
class Part:
    """A stretch of a day: simulated from `begin_s` on, measured for `measured_s` after `warm_up_s`."""

    begin_s: float
    warm_up_s: float
    measured_s: float

    @property
    def end_s(self) -> float:
        """Seconds since the first midnight."""
        return self.begin_s + self.warm_up_s + self.measured_s


COUNTS = (3, 4, 6, 8, 12, 24)
"""Of a day's samples, which are the middles of as many equal stretches of it."""

ENOUGH = 6
"""More are taken only where they are needed to stand for the day."""

OF_THE_MEAN = 0.02
"""Part by which the samples' load may differ from the day's."""

LEAST_MEASURED_S = 20.0


def parts_of_day(day: Day, turns_per_hour: float, warm_up_s: float, turns: int) -> list[Part]:
    """What is simulated of the days, so that about so many turns are measured: whole days in a row where a
    day has no more, else samples of one: as many as their warm-ups allow, and as stand for the day."""
    a_day = turns_per_hour * HOURS
    if a_day <= turns:
        days = max(1, math.ceil(turns / a_day / 2))
        return [Part(DAY_S - warm_up_s, warm_up_s, days * DAY_S)]
    a_second = turns_per_hour / 3600
    allowed = min(ENOUGH, int(turns / (warm_up_s * a_second)))
    count = next(count for count in COUNTS if count >= allowed and _stands_for(day, count))
    measured_s = max(LEAST_MEASURED_S, min(turns / count / a_second, DAY_S / count))
    return [Part(at_s - measured_s / 2 - warm_up_s, warm_up_s, measured_s) for at_s in _middles_s(count)]


def _middles_s(count: int) -> list[float]:
    return [DAY_S * (index + 0.5) / count for index in range(count)]


def _stands_for(day: Day, count: int) -> bool:
    """Always so of the 24 hours."""
    factors = [day.factor(at_s) for at_s in _middles_s(count)]
    return count == HOURS or abs(sum(factors) / count - 1) < OF_THE_MEAN


def arrivals(
    chance: np.random.Generator, day: Day, per_s: float, begin_s: float, end_s: float
) -> Iterator[float]:
    """The times of a Poisson process that follows the day: `per_s` on average over it."""
    at_s, highest = begin_s, per_s * day.peak
    while True:
        for gap_s, luck in zip(chance.exponential(1 / highest, 1000), chance.random(1000), strict=True):
            at_s += gap_s
            if at_s >= end_s:
                return
            if luck * highest < per_s * day.factor(at_s):
                yield float(at_s)


def day_of(text: str) -> Day:
    """The day that an option says: "flat", or 24 numbers with commas between.

    Raises ValueError for anything else.
    """
    if text == "flat":
        return Day(FLAT)
    weights: Sequence[float] = [float(one) for one in text.split(",")]
    if len(weights) != HOURS or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise ValueError("a day is 'flat' or 24 numbers that are not negative, with commas between")
    return Day(tuple(weights))
