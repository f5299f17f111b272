"""What the listeners of the last turns waited for, from the end of speech to the first audio."""

from collections.abc import Sequence

from client.report.plot import Plot, colour, label_axis, legend, seconds_axis
from client.report.turns import COLOURS, WAITS, NumberedTurn, waits_us
from client.report.waterfall import LEAST_US, ms

LAST = 40
"""So many turns have a bar each."""


def waits_plot(turns: Sequence[NumberedTurn]) -> Plot | None:
    """A bar for each turn, of what it waited for. None if nothing was played."""
    waits = {
        f"Turn {turn.number} · {ms(turn.voice_to_voice_us)}": waits_us(turn.record)
        for turn in turns
        if turn.voice_to_voice_us is not None
    }
    waits = dict(list(waits.items())[-LAST:])
    if not waits:
        return None
    names = [name for name in WAITS if any(wait.get(name) for wait in waits.values())]
    bars = [
        {"label": label, "wait": WAITS[name], "s": wait[name] / 1e6, "order": place}
        for label, wait in waits.items()
        for place, name in enumerate(names)
        if wait.get(name)
    ]
    shown = {
        "values": [
            WAITS[name] for name in names if any(wait.get(name, 0) >= LEAST_US for wait in waits.values())
        ]
    }
    return Plot(
        name="waits",
        title="What the listener waited for",
        alt=f"Stacked bars: what each of {len(waits)} turns waited for until its first audio was played.",
        spec={
            "height": {"step": 18},
            "data": {"values": bars},
            "mark": {"type": "bar", "height": 12, "stroke": colour("paper"), "strokeWidth": 0.75},
            "encoding": {
                "y": label_axis(max(map(len, waits))),
                "x": {"field": "s", "type": "quantitative", "axis": seconds_axis()},
                "color": legend("wait", {WAITS[name]: COLOURS[name] for name in names}) | {"legend": shown},
                "order": {"field": "order"},
            },
        },
        headings=("voice-to-voice", *(WAITS[name] for name in names)),
        rows=[(label, *(ms(wait.get(name, 0)) for name in names)) for label, wait in waits.items()],
    )
