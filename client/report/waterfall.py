"""The waterfall of one turn: what went on from the end of speech, when, and for how long."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from client.report.plot import FAINT, Plot, Spec, colour, label_axis, seconds_axis
from client.report.turns import COLOURS, WAITS, NumberedTurn, waits_us
from conversation.turn_record import TurnRecord
from shared.errors import Stage
from shared.ledger import Activity, Span

LEAST_US = 1000
"""What takes less in all is left out."""

LONGEST_LABEL = len("Held until certain")

_WORK: tuple[Activity, ...] = ("first token", "work")
_SPACE = 1.22
"""Times the turn is the plot's width, so that figures fit in beside the last bars."""


class Bar(NamedTuple):
    """A stretch of a turn, in microseconds from the end of speech."""

    label: str
    colour: str
    faint: bool
    """Whether it is waiting rather than work."""
    from_us: int
    to_us: int


def waterfall(turn: NumberedTurn) -> Plot | None:
    """The turn as its listener knew it: the pause, the pipeline's ledger, and what it took until audio was
    played. The rest of the reply is made while its beginning is played. None if nothing took any time.

    The network's part is drawn where the first audio arrives, though half of it is the way there.
    """
    rows = _rows(turn.record)
    if not rows:
        return None
    first_us = turn.voice_to_voice_us
    heard = "no audio" if first_us is None else f"first audio after {ms(first_us)}"
    figures = [(bars[0].label, ms(bars[0].from_us), ms(bars[-1].to_us), ms(_total_us(bars))) for bars in rows]
    return Plot(
        name=f"turn-{turn.number}",
        title=f"Turn {turn.number}: {heard}",
        alt=f"Waterfall, {heard}: {', '.join(f'{label} {total}' for label, *_, total in figures)}.",
        spec=_spec(rows, first_us),
        headings=("span", "from", "to", "in all"),
        rows=figures,
    )


def ms(duration_us: float) -> str:
    """In milliseconds; from ten seconds on in seconds."""
    return f"{duration_us / 1e6:,.1f} s" if duration_us >= 1e7 else f"{duration_us / 1000:,.0f} ms"


def span_label(span: Span) -> str:
    """What a span is called."""
    if span.stage is not Stage.ORCHESTRATOR:
        return f"{span.stage.upper()} {span.activity}"
    return "Second chunk held" if span.activity == "held" else span.activity.capitalize()


def span_bar(span: Span, from_us: int) -> Bar:
    """A span that begins there."""
    of = "failed" if span.activity == "lost" else COLOURS[span.stage]
    return Bar(span_label(span), of, span.activity not in _WORK, from_us, from_us + span.duration_us)


def _rows(record: TurnRecord) -> list[list[Bar]]:
    """The bars that have one label, label by label as they begin."""
    rows: dict[str, list[Bar]] = {}
    for bar in sorted(_bars(record), key=lambda bar: bar.from_us):
        rows.setdefault(bar.label, []).append(bar)
    return [bars for bars in rows.values() if _total_us(bars) >= LEAST_US]


def _bars(record: TurnRecord) -> Iterator[Bar]:
    waits, from_us = waits_us(record), 0
    if record.ledger and "pipeline" not in waits:
        ends_us = accumulate(
            (span.duration_us for span in record.ledger.spans), initial=waits.get("pause", 0)
        )
        yield from (span_bar(span, at_us) for span, at_us in zip(record.ledger.spans, ends_us, strict=False))
    for name, duration_us in waits.items():
        if name not in tuple(Stage):  # else it is in the ledger
            yield Bar(WAITS[name], COLOURS[name], name == "network", from_us, from_us + duration_us)
        from_us += duration_us


def _total_us(bars: Sequence[Bar]) -> int:
    return sum(bar.to_us - bar.from_us for bar in bars)


def _spec(rows: Sequence[Sequence[Bar]], first_audio_us: int | None) -> Spec:
    end_us = max(bar.to_us for bars in rows for bar in bars)
    scale = {"domain": [0, end_us / 1e6 * _SPACE], "nice": False}
    x = {"type": "quantitative", "axis": seconds_axis(), "scale": scale}
    y = label_axis(LONGEST_LABEL)
    totals = [
        {"label": bars[0].label, "at": bars[-1].to_us / 1e6, "text": ms(_total_us(bars))} for bars in rows
    ]
    layers: list[Spec] = [
        {
            "data": {"values": [_bar_values(bar) for bars in rows for bar in bars]},
            "mark": {"type": "bar", "height": 11, "cornerRadius": 1.5, "strokeWidth": 0.75},
            "encoding": {
                "y": y,
                "x": {**x, "field": "from"},
                "x2": {"field": "to"},
                **{channel: {"field": "colour", "scale": None} for channel in ("color", "stroke")},
                "opacity": {"field": "opacity", "type": "quantitative", "scale": None},
            },
        },
        {
            "data": {"values": totals},
            "mark": {"type": "text", "align": "left", "dx": 5},
            "encoding": {"y": y, "x": {**x, "field": "at"}, "text": {"field": "text"}},
        },
    ]
    if first_audio_us is not None:
        layers.insert(
            0,
            {
                "data": {"values": [{"at": first_audio_us / 1e6}]},
                "mark": {"type": "rule", "strokeDash": [3, 3], "color": colour("muted")},
                "encoding": {"x": {**x, "field": "at"}},
            },
        )
    return {"height": {"step": 18}, "layer": layers}


def _bar_values(bar: Bar) -> Spec:
    return {
        "label": bar.label,
        "from": bar.from_us / 1e6,
        "to": bar.to_us / 1e6,
        "colour": colour(bar.colour),
        "opacity": FAINT if bar.faint else 1,
    }
