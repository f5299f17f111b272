"""How long each span of the ledgers took over all turns, and what is around them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from client.report.plot import FAINT, Plot, Spec, colour, label_axis
from client.report.turns import COLOURS, WAITS, NumberedTurn, spans_to_first_audio, waits_us
from client.report.waterfall import LEAST_US, Bar, ms, span_bar
from shared.errors import Stage

MOST_DOTS = 60
"""Up to so many turns have a dot each."""

_PERCENTILES = (5, 25, 50, 75, 95)
_TICKS_S = (0.001, 0.01, 0.1, 1, 10, 100)


def first_audio_plot(turns: Sequence[NumberedTurn]) -> Plot | None:
    """What every turn spent on its way to the first audio. None if there is nothing."""
    return _plot("spans", "On the way to the first audio", map(_to_first_audio, turns))


def rest_plot(turns: Sequence[NumberedTurn]) -> Plot | None:
    """The ledgers' spans after the first audio, while it is played: the rest of the reply."""
    return _plot("rest", "After the first audio, while the reply is played", map(_after_first_audio, turns))


def _to_first_audio(turn: NumberedTurn) -> list[Bar]:
    waits, ledger = waits_us(turn.record), turn.record.ledger
    around = [
        Bar(WAITS[name], COLOURS[name], name == "network", 0, us)
        for name, us in waits.items()
        if name not in tuple(Stage)
    ]
    spans = spans_to_first_audio(ledger) if ledger and "pipeline" not in waits else ()
    return [*around[:1], *(span_bar(span, 0) for span in spans), *around[1:]]


def _after_first_audio(turn: NumberedTurn) -> list[Bar]:
    ledger = turn.record.ledger
    spans = ledger.spans[len(spans_to_first_audio(ledger)) :] if ledger else ()
    return [span_bar(span, 0) for span in spans]


def _plot(name: str, title: str, turns: Iterable[Sequence[Bar]]) -> Plot | None:
    """Of the sum of what each turn has under a label."""
    colours: dict[str, str] = {}
    durations_us: defaultdict[str, list[int]] = defaultdict(list, {WAITS["pause"]: []})  # it is the first one
    for bars in turns:
        sums = Counter[str]()
        for bar in bars:
            colours.setdefault(bar.label, colour(bar.colour))
            sums[bar.label] += bar.to_us - bar.from_us
        for label, total_us in sums.items():
            durations_us[label].append(total_us)
    rows = {label: us for label, us in durations_us.items() if max(us, default=0) >= LEAST_US}
    if not rows:
        return None
    percentiles = {label: np.percentile(us, _PERCENTILES) for label, us in rows.items()}
    values: list[Spec] = []
    dots: list[Spec] = []
    for label, us in rows.items():
        look = {"label": f"{label} · {ms(percentiles[label][2])}", "colour": colours[label]}
        drawn = zip(_PERCENTILES, percentiles[label], strict=True)
        values.append(look | {f"p{percent}": _drawn_s(value_us) for percent, value_us in drawn})
        dots += [look | {"s": _drawn_s(one)} for one in us if len(us) <= MOST_DOTS]
    return Plot(
        name=name,
        title=title,
        alt=f"{title}: how long each span took. Medians: {', '.join(one['label'] for one in values)}.",
        spec=_spec(values, dots, max(map(max, rows.values()))),
        headings=("span", "turns", "p5", "p25", "p50", "p75", "p95", "max"),
        rows=[
            (label, f"{len(us):,}", *map(ms, percentiles[label]), ms(max(us))) for label, us in rows.items()
        ],
    )


def _drawn_s(duration_us: float) -> float:
    """What the scale, which is logarithmic, begins with stands for all below it."""
    return max(duration_us, LEAST_US) / 1e6


def _spec(values: list[Spec], dots: list[Spec], most_us: int) -> Spec:
    x = {
        "type": "quantitative",
        "scale": {"type": "log", "domain": [_drawn_s(0), _drawn_s(most_us) * 1.02], "nice": False},
        "axis": {
            "title": None,
            "values": [one for one in _TICKS_S if one * 1e6 <= most_us],
            "labelExpr": "datum.value < 1 ? datum.value * 1000 + ' ms' : datum.value + ' s'",
        },
    }

    y = label_axis(max(len(one["label"]) for one in values))

    def layer(mark: Spec, field: str, to: str = "") -> Spec:
        ranged = {"x2": {"field": to}} if to else {}
        look = {"field": "colour", "type": "nominal", "scale": None}
        return {
            "mark": mark,
            "encoding": {"y": y, "x": {**x, "field": field}, **ranged, "color": look},
        }

    return {
        "height": {"step": 22},
        "data": {"values": values},
        "layer": [
            layer({"type": "bar", "height": 1.5, "opacity": FAINT}, "p5", "p95"),
            layer({"type": "bar", "height": 11, "opacity": FAINT}, "p25", "p75"),
            layer({"type": "point", "filled": True, "size": 14, "opacity": 0.7}, "s")
            | {"data": {"values": dots}},
            layer({"type": "tick", "thickness": 2.5, "height": 15}, "p50"),
        ],
    }
