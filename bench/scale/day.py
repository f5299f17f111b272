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


MOST_PARTS = 6
"""Of a day that is sampled: the middles of as many equal stretches of it."""

FEWEST_PARTS = 3
LEAST_MEASURED_S = 20.0


def parts_of_day(turns_per_hour: float, warm_up_s: float, turns: int) -> list[Part]:
    """What is simulated of the days, so that about so many turns are measured: whole days in a row where a
    day has no more, else as many samples of one day as their warm-ups allow."""
    a_day = turns_per_hour * HOURS
    if a_day <= turns:
        days = max(1, math.ceil(turns / a_day / 2))
        return [Part(DAY_S - warm_up_s, warm_up_s, days * DAY_S)]
    a_second = turns_per_hour / 3600
    count = min(MOST_PARTS, max(FEWEST_PARTS, int(turns / (warm_up_s * a_second))))
    measured_s = max(LEAST_MEASURED_S, min(turns / count / a_second, DAY_S / count))
    middles = (DAY_S * (index + 0.5) / count for index in range(count))
    return [Part(middle_s - measured_s / 2 - warm_up_s, warm_up_s, measured_s) for middle_s in middles]


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
