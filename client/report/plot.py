"""Plots: Vega-Lite specifications, rendered as SVG for a page, light or dark, or as PNG."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from shared.errors import Misconfigured

Spec = dict[str, Any]
"""A Vega-Lite specification of one view (or layers), without a width."""

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1f27",
    "muted": "#656d7b",
    "rule": "#e4e7ec",
    "pause": "#a3abb8",
    "held": "#ccd2db",
    "playback": "#c9668f",
    "orchestrator": "#5d6675",
    "asr": "#2b6fd6",
    "llm": "#8e4bc9",
    "tts": "#0f947a",
    "network": "#c97a12",
    "failed": "#c93434",
}
DARK = {
    "paper": "#14171c",
    "ink": "#e8eaee",
    "muted": "#9aa3b1",
    "rule": "#2b3039",
    "pause": "#6d7685",
    "held": "#4d5665",
    "playback": "#e58bb0",
    "orchestrator": "#a9b2c0",
    "asr": "#6aa4f8",
    "llm": "#be8bf0",
    "tts": "#3fc7a8",
    "network": "#e8a94b",
    "failed": "#f07a7a",
}
"""By name; a page has each as a CSS variable. The parts of a turn are told apart by labels as well."""

FAINT = 0.5
"""Opacity of what is waiting rather than work."""

_FONT = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
_PNG_FONT = "sans-serif"
_CHARACTER_PX = 6.5
"""Of the widest font that is usual, at 11 px."""
_LEGEND_PX = 120
"""A column of a legend."""


@dataclass(frozen=True)
class Plot:
    """A plot, and its figures as a table for those who cannot see it."""

    name: str
    title: str
    alt: str
    """What it shows, in a sentence."""
    spec: Spec
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    """As text; the first column names the row."""


def colour(name: str) -> str:
    """A colour of LIGHT and DARK in a specification."""
    return f"var(--{name})"


def seconds_axis(**options: object) -> Spec:
    """An axis of seconds."""
    label = "format(datum.value, '~g') + ' s'"
    return {"title": None, "labelExpr": label, "tickCount": 5, **options}


def label_axis(longest: int) -> Spec:
    """The vertical channel of rows, each with its "label", in their own order. There is space for so many
    characters, since the font of the page is not known here, and so plots side by side are alike."""
    axis = {"title": None, "grid": False, "minExtent": longest * _CHARACTER_PX}
    return {"field": "label", "type": "nominal", "sort": None, "axis": axis}


def turn_axis(turns: int) -> Spec:
    """The horizontal channel of turns from 1 to so many, without its field."""
    return {
        "type": "quantitative",
        "axis": {"title": "turn", "grid": False, "tickMinStep": 1, "tickCount": 8, "format": ",d"},
        "scale": {"domain": [0.5, turns + 0.5], "nice": False},
    }


def legend(field: str, colours: Mapping[str, str]) -> Spec:
    """The colour of what a field names, by names of LIGHT and DARK, and a legend."""
    scale = {"domain": list(colours), "range": [colour(one) for one in colours.values()]}
    return {"field": field, "type": "nominal", "scale": scale}


def svg(plot: Plot, width_px: int) -> str:
    """The plot for an HTML page that has its colours as CSS variables. It loads nothing.

    Raises Misconfigured if the library for plots is not installed.
    """
    rendered: str = _library().vegalite_to_svg(_whole(plot.spec, width_px, _FONT))
    return rendered.replace("<svg ", f'<svg role="img" aria-label="{escape(plot.alt)}" ', 1)


def png(plot: Plot, width_px: int) -> bytes:
    """The plot in the light colours, with its title, at twice the resolution.

    Raises Misconfigured if the library for plots is not installed.
    """
    spec = _whole(plot.spec, width_px, _PNG_FONT)
    spec |= {"title": plot.title, "background": LIGHT["paper"], "padding": 12}
    light = re.sub(r"var\(--([a-z]+)\)", lambda name: LIGHT[name[1]], json.dumps(spec))
    rendered: bytes = _library().vegalite_to_png(light, scale=2)
    return rendered


def _library() -> Any:
    """Loaded when a plot is drawn, since it brings a JavaScript engine."""
    try:
        import vl_convert
    except ModuleNotFoundError:
        raise Misconfigured(
            "Plots need the library vl-convert: pip install -e '.[report]', or make setup"
        ) from None
    return vl_convert


def _whole(spec: Spec, width_px: int, font: str) -> Spec:
    text = {"labelColor": colour("muted"), "labelFontSize": 11, "titleColor": colour("muted")}
    titles = {"titleFontSize": 11, "titleFontWeight": "normal"}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": width_px,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": None,
        "padding": 0,
        **spec,
        "config": {
            "aria": False,  # the plot has one description, and its table
            "font": font,
            "view": {"stroke": None},
            "axis": {
                **text,
                **titles,
                "domain": False,
                "ticks": False,
                "gridColor": colour("rule"),
                "labelPadding": 6,
                "labelLimit": 280,
            },
            "legend": {
                **text,
                "orient": "top",
                "title": None,
                "labelColor": colour("ink"),
                "symbolType": "square",
                "columns": max(2, width_px // _LEGEND_PX),
                "symbolSize": 90,
                "symbolStrokeWidth": 0,
                "columnPadding": 24,
                "offset": 10,
            },
            "text": {"color": colour("ink"), "fontSize": 11},
            "rule": {"color": colour("ink")},
            "title": {
                "anchor": "start",
                "fontSize": 14,
                "fontWeight": 600,
                "color": colour("ink"),
                "offset": 12,
            },
        },
    }
