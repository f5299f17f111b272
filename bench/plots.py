"""`python -m bench.plots FOLDER`: figures of `make bench` and metrics of conversations, drawn as PNG.

Those in docs/plots were reduced to 128 colours, which makes them a tenth as large.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bench.talk import Talked
from bench.turns import Latency, Load
from client.metrics.metrics_file import read_metrics
from client.report.plot import FAINT, Plot, Spec, colour, label_axis, png, seconds_axis
from client.report.turns import numbered_turns
from client.report.waits import waits_plot

WIDTH_PX = 760

_DESIGNS = {
    "overlapped": ("ours", "tts"),
    "hand-chained": ("chained by hand", "orchestrator"),
    "sequential": ("one after another", "pause"),
}
"""What each design is called, and its colour."""
_SIDES = {"no speculation": "pause", "speculation": "asr", "turn detection": "tts"}


def plots(
    folder: Annotated[Path, typer.Argument(help="Where to write them.")],
    figures: Annotated[Path | None, typer.Option(help="A file of make bench JSON=file.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="A file of s2s talk --metrics.")] = None,
) -> None:
    """Draw what was measured before."""
    drawn: list[Plot] = []
    if figures:
        read = json.loads(figures.read_bytes())
        drawn += bench_plots(
            [Latency(**row) for row in read["turns"]],
            [Load(**row) for row in read["load"]],
            [Talked(**row) for row in read["talk"]],
        )
    if metrics and (waits := waits_plot(list(numbered_turns(read_metrics(metrics))))):
        drawn.append(waits)
    for path in write_plots(drawn, folder):
        print(f"Wrote {path}")


def bench_plots(turns: Sequence[Latency], load: Sequence[Load], talk: Sequence[Talked]) -> list[Plot]:
    """What `make bench` measures of the turn, of many sessions, and of the conversation."""
    return [_turns(turns), _load(load), _talk(talk)]


def write_plots(some: Iterable[Plot], folder: Path) -> list[Path]:
    """Write each as NAME.png in the folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for plot in some:
        path = folder / f"{plot.name}.png"
        path.write_bytes(png(plot, WIDTH_PX))
        paths.append(path)
    return paths


def _turns(rows: Sequence[Latency]) -> Plot:
    bars = [
        (
            f"{_sentences(row.sentences)}, {_DESIGNS[row.design][0]}",
            _DESIGNS[row.design][1],
            row.first_audio_s,
            row.last_audio_s,
        )
        for row in rows
    ]
    return _bars(
        "turns", "Time to first audio, and (pale) to the last, by the length of the reply", bars, "s"
    )


def _load(rows: Sequence[Load]) -> Plot:
    bars = [
        (
            f"{_sessions(row.sessions)}, {_DESIGNS[row.design][0]}",
            _DESIGNS[row.design][1],
            row.delay_p50_ms,
            row.delay_p95_ms,
        )
        for row in rows
    ]
    return _bars("load", "First audio after the stages alone: median, and (pale) 95th percentile", bars, "ms")


def _talk(rows: Sequence[Talked]) -> Plot:
    bars = [
        (f"{row.stages}, {row.side}", _SIDES[row.side], row.voice_to_voice_s, row.voice_to_voice_p95_s)
        for row in rows
    ]
    return _bars("talk", "Voice-to-voice: median, and (pale) 95th percentile", bars, "s")


def _sentences(number: int) -> str:
    return f"{number} sentence{'s' if number > 1 else ''}"


def _sessions(number: int) -> str:
    return f"{number} session{'s' if number > 1 else ''}"


def _bars(name: str, title: str, bars: Sequence[tuple[str, str, float, float]], unit: str) -> Plot:
    """A bar for each: its label, its colour, where it is solid to, and where pale to."""
    digits = 2 if unit == "s" else 1
    values = [
        {"label": label, "from": low, "to": high, "colour": colour(of), "opacity": opacity}
        for label, of, middle, end in bars
        for low, high, opacity in ((0, middle, 1), (middle, end, FAINT))
    ]
    texts = [
        {"label": label, "at": end, "text": f"{middle:.{digits}f} / {end:.{digits}f} {unit}"}
        for label, _, middle, end in bars
    ]
    end = max(end for *_, end in bars)
    y = label_axis(max(len(label) for label, *_ in bars))
    axis = seconds_axis() | {"labelExpr": f"format(datum.value, '~g') + ' {unit}'"}
    x: Spec = {"type": "quantitative", "axis": axis, "scale": {"domain": [0, end * 1.15], "nice": False}}
    return Plot(
        name=name,
        title=title,
        alt=title,
        spec={
            "height": {"step": 22},
            "layer": [
                {
                    "data": {"values": values},
                    "mark": {"type": "bar", "height": 14},
                    "encoding": {
                        "y": y,
                        "x": {**x, "field": "from"},
                        "x2": {"field": "to"},
                        "color": {"field": "colour", "type": "nominal", "scale": None},
                        "opacity": {"field": "opacity", "type": "quantitative", "scale": None},
                    },
                },
                {
                    "data": {"values": texts},
                    "mark": {"type": "text", "align": "left", "dx": 5},
                    "encoding": {"y": y, "x": {**x, "field": "at"}, "text": {"field": "text"}},
                },
            ],
        },
        headings=("", "solid", "pale"),
        rows=[
            (label, f"{middle:.{digits}f} {unit}", f"{end:.{digits}f} {unit}")
            for label, _, middle, end in bars
        ],
    )


if __name__ == "__main__":
    typer.run(plots)
