"""Percentiles, by one definition everywhere."""

import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` (1 to 99) of 100 values do not exceed, interpolated between neighbours.

    50 is the median; of one value, all are that value. Raises ValueError if there is none.
    """
    if not values:
        raise ValueError("there are no values")
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
