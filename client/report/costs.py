"""What the turns would have cost on Modal, app by app."""

from collections.abc import Sequence

from client.cost.past import PastAppCost, PastCost
from client.cost.table import dollars
from client.report.plot import FAINT, Plot, Spec, colour, label_axis
from client.targets import App

_COLOURS = {
    App.ASR: "asr",
    App.LLM: "llm",
    App.TTS: "tts",
    App.ORCHESTRATOR: "orchestrator",
    App.MONOLITH: "network",
}


def cost_plot(costs: Sequence[PastCost]) -> Plot | None:
    """A bar for each app: what its containers cost at work, and waiting. None if they cost nothing."""
    apps = [(cost.name, app) for cost in costs for app in cost.apps]
    if not any(app.dollars for _, app in apps):
        return None
    amounts = ", ".join(f"{app.priced.app} {dollars(app.dollars)}" for _, app in apps)
    bars = [bar for _, app in apps for bar in _bars(app)]
    return Plot(
        name="costs",
        title="Containers: at work, and waiting (pale)",
        alt=f"What the containers of each app cost: {amounts}.",
        spec={
            "height": {"step": 24},
            "data": {"values": bars},
            "mark": {"type": "bar", "height": 13},
            "encoding": {
                "y": label_axis(max(len(bar["label"]) for bar in bars)),
                "x": {
                    "field": "from",
                    "type": "quantitative",
                    "axis": {"title": None, "labelExpr": "'$' + format(datum.value, '~r')", "tickCount": 4},
                },
                "x2": {"field": "to"},
                "color": {"field": "colour", "type": "nominal", "scale": None},
                "opacity": {"field": "opacity", "type": "quantitative", "scale": None},
            },
        },
        headings=("app", "deployed as", "on", "an hour each", "alive", "at work", "in all"),
        rows=[
            (
                app.priced.app,
                name,
                app.priced.gpu or "CPU",
                dollars(app.priced.container_s * 3600),
                f"{app.alive_s:,.0f} s",
                f"{app.busy_s:,.0f} s",
                dollars(app.dollars),
            )
            for name, app in apps
        ],
    )


def _bars(app: PastAppCost) -> list[Spec]:
    work = min(app.busy_s, app.alive_s) * app.priced.container_s  # calls that overlap count each
    name = app.priced.app
    bar = {"label": f"{name} · {dollars(app.dollars)}", "colour": colour(_COLOURS[name])}
    return [
        bar | {"from": 0, "to": work, "opacity": 1},
        bar | {"from": work, "to": app.dollars, "opacity": FAINT},
    ]
