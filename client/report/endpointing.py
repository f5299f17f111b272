"""The silences in which turns were taken to be over, and how often the person had not finished."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from client.metrics.table import ENDED_BY
from client.report.plot import Plot, colour, legend, seconds_axis
from client.report.turns import NumberedTurn
from client.report.waterfall import ms
from conversation.turn_detection import EndedBy
from conversation.turn_record import SPOKE_ON_WITHIN_S, EndOfTurn

BIN_US = 100_000
MOST_BINS = 40
"""A silence of so many bins or more is counted in the last one."""

_NAMES = {False: "had finished", True: f"spoke on within {SPOKE_ON_WITHIN_S:g} s"}


def silence_plots(turns: Sequence[NumberedTurn]) -> list[Plot]:
    """A histogram for each way in which the silence was set."""
    ends = [end for turn in turns for end in turn.record.ends]
    by_kind = {kind: [end for end in ends if end.ended_by == kind] for kind in ENDED_BY}
    return [_histogram(kind, of_kind) for kind, of_kind in by_kind.items() if of_kind]


def _histogram(kind: EndedBy, ends: Sequence[EndOfTurn]) -> Plot:
    counts = Counter((min(end.silence_us // BIN_US, MOST_BINS), end.spoke_on) for end in ends)
    places = sorted({place for place, _ in counts})
    bars = [
        {"from": _s(place), "to": _s(place + 1), "count": count, "then": _NAMES[spoke_on]}
        for (place, spoke_on), count in sorted(counts.items())
    ]
    median_us = float(np.median([end.silence_us for end in ends]))
    x_scale = {"domain": [0, max(1.5, _s(places[-1] + 2))], "nice": False}
    counts_axis = {"title": None, "tickMinStep": 1, "tickCount": 4, "format": ",d"}
    return Plot(
        name=f"silences-{kind}",
        title=ENDED_BY[kind],
        alt=f"Histogram of {len(ends):,} silences, {ms(median_us)} in the median; "
        f"after {sum(end.spoke_on for end in ends):,} of them the person spoke on.",
        spec={
            "height": 150,
            "data": {"values": bars},
            "mark": {"type": "bar", "orient": "vertical", "stroke": colour("paper"), "strokeWidth": 1},
            "encoding": {
                "x": {
                    "field": "from",
                    "type": "quantitative",
                    "scale": x_scale,
                    "axis": seconds_axis(grid=False),
                },
                "x2": {"field": "to"},
                "y": {"field": "count", "type": "quantitative", "axis": counts_axis},
                "color": legend("then", {_NAMES[False]: "asr", _NAMES[True]: "failed"}),
            },
        },
        headings=("silence", *_NAMES.values()),
        rows=[
            (
                f"{_s(place):.1f} s" + (" or more" if place == MOST_BINS else ""),
                *(f"{counts[place, spoke_on]:,}" for spoke_on in _NAMES),
            )
            for place in places
        ],
    )


def _s(place: int) -> float:
    return place * BIN_US / 1e6
