"""How turns went, one after another: voice-to-voice, and their outcomes."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from client.report.plot import Plot, colour, legend, seconds_axis, turn_axis
from client.report.turns import NumberedTurn, clock
from client.report.waterfall import ms
from conversation.turn_record import TurnOutcome

MOST_POINTS = 400
"""Up to so many turns have a point each; more are summed."""
BINS = 60
"""So many sums at most, of as many turns each."""

OUTCOMES: dict[TurnOutcome, str] = {
    "completed": "completed",
    "interrupted": "interrupted",
    "no_speech": "without speech",
    "failed": "failed",
}
_COLOURS: dict[TurnOutcome, str] = {
    "completed": "tts",
    "interrupted": "asr",
    "no_speech": "pause",
    "failed": "failed",
}
_SHAPES: dict[TurnOutcome, str] = {
    "completed": "circle",
    "interrupted": "diamond",
    "no_speech": "square",
    "failed": "triangle-up",
}
_TITLE = "Voice-to-voice, turn by turn"


def voice_to_voice_plot(turns: Sequence[NumberedTurn]) -> Plot | None:
    """A point for each turn, or the percentiles of many. None if nothing was played."""
    played = [(turn, turn.voice_to_voice_us) for turn in turns if turn.voice_to_voice_us is not None]
    if not played:
        return None
    return _points(played, len(turns)) if len(turns) <= MOST_POINTS else _percentiles(played, len(turns))


def outcomes_plot(turns: Sequence[NumberedTurn]) -> Plot | None:
    """How many turns had which outcome. None if something was played in each, as voice-to-voice shows it."""
    if all(turn.voice_to_voice_us is not None for turn in turns):
        return None
    size = -(-len(turns) // BINS)
    bins = [turns[first : first + size] for first in range(0, len(turns), size)]
    counts = [
        (some[0].number, some[-1].number, Counter(turn.record.outcome for turn in some)) for some in bins
    ]
    seen = [name for name in OUTCOMES if any(count[name] for *_, count in counts)]
    bars = [
        {"from": first - 0.5, "to": last + 0.5, "outcome": OUTCOMES[name], "count": count[name]}
        for first, last, count in counts
        for name in seen
        if count[name]
    ]
    sums = (f"{sum(count[name] for *_, count in counts):,} {OUTCOMES[name]}" for name in seen)
    return Plot(
        name="outcomes",
        title="Outcomes, turn by turn",
        alt=f"Outcomes of the turns, one after another: {', '.join(sums)}.",
        spec={
            "height": 24 if size == 1 else 72,
            "data": {"values": bars},
            "mark": {"type": "bar", "orient": "vertical", "stroke": colour("paper"), "strokeWidth": 1},
            "encoding": {
                "x": {**turn_axis(len(turns)), "field": "from"},
                "x2": {"field": "to"},
                "y": {
                    "field": "count",
                    "type": "quantitative",
                    "axis": None,
                    "scale": {"domain": [0, size], "nice": False},
                },
                "color": legend("outcome", {OUTCOMES[name]: _COLOURS[name] for name in seen}),
            },
        },
        headings=("turns", *(OUTCOMES[name] for name in seen)),
        rows=[(_range(first, last), *(f"{count[name]:,}" for name in seen)) for first, last, count in counts],
    )


def _points(played: Sequence[tuple[NumberedTurn, int]], turns: int) -> Plot:
    median_us = float(np.median([us for _, us in played]))
    seen = [name for name in OUTCOMES if any(turn.record.outcome == name for turn, _ in played)]
    colours = legend("outcome", {OUTCOMES[name]: _COLOURS[name] for name in seen})
    if len(seen) == 1:
        colours["legend"] = None
    shapes = {
        **colours,
        "scale": {"domain": colours["scale"]["domain"], "range": [_SHAPES[name] for name in seen]},
    }
    points = [
        {"turn": turn.number, "s": us / 1e6, "outcome": OUTCOMES[turn.record.outcome]} for turn, us in played
    ]
    y = {"field": "s", "type": "quantitative", "axis": seconds_axis()}
    return Plot(
        name="voice-to-voice",
        title=_TITLE,
        alt=f"Voice-to-voice of {len(played):,} turns, a point each; the median is {ms(median_us)}.",
        spec={
            "height": 190,
            "layer": [
                {
                    "data": {"values": [{"s": median_us / 1e6}]},
                    "mark": {"type": "rule", "strokeDash": [3, 3], "color": colour("muted")},
                    "encoding": {"y": y},
                },
                {
                    "data": {"values": points},
                    "mark": {"type": "point", "filled": True, "size": 55, "opacity": 0.9},
                    "encoding": {
                        "x": {**turn_axis(turns), "field": "turn"},
                        "y": y,
                        "color": colours,
                        "shape": shapes,
                    },
                },
            ],
        },
        headings=("turn", "began", "outcome", "voice-to-voice"),
        rows=[
            (f"{turn.number:,}", clock(turn), OUTCOMES[turn.record.outcome], ms(us)) for turn, us in played
        ],
    )


def _percentiles(played: Sequence[tuple[NumberedTurn, int]], turns: int) -> Plot:
    sums = []
    for some in np.array_split(np.arange(len(played)), min(BINS, len(played))):
        first, last = played[some[0]][0].number, played[some[-1]][0].number
        p5, p50, p95 = np.percentile([played[index][1] for index in some], (5, 50, 95)) / 1e6
        middle = (first + last) / 2
        sums.append({"first": first, "last": last, "turn": middle, "p5": p5, "p50": p50, "p95": p95})
    x, y = {**turn_axis(turns), "field": "turn"}, {"type": "quantitative", "axis": seconds_axis()}
    return Plot(
        name="voice-to-voice",
        title=_TITLE,
        alt=f"Voice-to-voice of {len(played):,} turns: the median, and the 5th to 95th percentile.",
        spec={
            "height": 190,
            "data": {"values": sums},
            "layer": [
                {
                    "mark": {"type": "area", "opacity": 0.2, "color": colour("asr")},
                    "encoding": {"x": x, "y": {**y, "field": "p5"}, "y2": {"field": "p95"}},
                },
                {
                    "mark": {"type": "line", "strokeWidth": 2, "color": colour("asr")},
                    "encoding": {"x": x, "y": {**y, "field": "p50"}},
                },
            ],
        },
        headings=("turns", "p5", "p50", "p95"),
        rows=[
            (_range(one["first"], one["last"]), *(ms(one[p] * 1e6) for p in ("p5", "p50", "p95")))
            for one in sums
        ],
    )


def _range(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"
