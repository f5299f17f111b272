"""What simulations came to, by load, as plots."""

from collections.abc import Callable, Sequence

from bench.scale.simulation import Outcome
from client.report.plot import FAINT, Plot, Spec, colour

HEIGHT_PX = 220
_COLOURS = {"four apps": "asr", "monolith": "tts"}

Figure = Callable[[Outcome], float]


def plots(outcomes: Sequence[Outcome]) -> list[Plot]:
    """Waits, cold starts, GPU hours and dollars, against turns an hour."""
    return [
        _plot(
            "scale-waits",
            "Voice-to-voice: 95th percentile, and (pale) median",
            outcomes,
            lambda outcome: outcome.p95_s,
            lambda outcome: outcome.p50_s,
            axis={"labelExpr": "format(datum.value, '~g') + ' s'"},
        ),
        _plot(
            "scale-cold-starts",
            "Turns that met a cold start",
            outcomes,
            lambda outcome: outcome.cold_share,
            axis={"format": ".0%"},
        ),
        _plot(
            "scale-gpu-hours",
            "GPU hours an hour",
            outcomes,
            lambda outcome: outcome.gpu_hours_per_hour,
            axis={"format": "~s"},
            log=True,
        ),
        _plot(
            "scale-dollars",
            "Dollars a turn",
            outcomes,
            lambda outcome: outcome.dollars_per_turn,
            axis={"format": "$~g"},
            log=True,
        ),
    ]


def _plot(
    name: str, title: str, outcomes: Sequence[Outcome], *figures: Figure, axis: Spec, log: bool = False
) -> Plot:
    """A line for each deployment and figure, of which those after the first are pale."""
    values = [
        {
            "load": outcome.turns_per_hour,
            "value": figure(outcome),
            "deployment": outcome.deployment,
            "figure": index,
            "opacity": FAINT if index else 1.0,
        }
        for outcome in outcomes
        for index, figure in enumerate(figures)
    ]
    names = list(dict.fromkeys(outcome.deployment for outcome in outcomes))
    shared = {
        "x": {
            "field": "load",
            "type": "quantitative",
            "scale": {"type": "log"},
            "axis": {"title": "turns an hour", "format": "~s", "tickCount": 6, "grid": False},
        },
        "y": {
            "field": "value",
            "type": "quantitative",
            "scale": {"type": "log"} if log else {"zero": True},
            "axis": {"title": None, "tickCount": 3 if log else 5, **axis},
        },
        "color": {
            "field": "deployment",
            "type": "nominal",
            "scale": {"domain": names, "range": [colour(_COLOURS[one]) for one in names]},
        },
        "opacity": {"field": "opacity", "type": "quantitative", "scale": None},
        "detail": {"field": "figure"},
    }
    return Plot(
        name=name,
        title=title,
        alt=f"{title}, by turns an hour, for {' and '.join(names)}.",
        spec={
            "height": HEIGHT_PX,
            "data": {"values": values},
            "encoding": shared,
            "layer": [
                {"mark": {"type": "line", "strokeWidth": 2}},
                {"mark": {"type": "point", "filled": True, "size": 40}},
            ],
        },
        headings=("turns an hour", "deployment", title),
        rows=[(f"{one['load']:,.10g}", str(one["deployment"]), f"{one['value']:.3g}") for one in values],
    )
