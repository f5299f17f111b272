"""Costs as tables, and the assumptions behind them, in 80 columns."""

import inspect
import math
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from client.cost.containers import expected_containers
from client.cost.deployment import PricedApp
from client.cost.estimate import AppCost, DeploymentCost
from client.cost.past import PastCost
from client.display.terminal import plain_table
from client.targets import App

LEAST = 1e-6
"""Dollars that are worth showing."""
PAST_HEADINGS = ("turns", "conversation", "a turn", "a minute", "in all")


def estimate_table(costs: Sequence[DeploymentCost]) -> RenderableType:
    """Each app, then what it comes to with each deployment."""
    apps = _apps_table("containers", "an hour", "idle")
    sums = plain_table("", figures=("a turn", "a minute", "an hour", "idle", "an hour at rest"))
    for app in _each_app(costs):
        containers = f"{app.containers.alive:,.2f}"
        apps.add_row(*_app(app.priced), containers, dollars(app.per_hour), dollars(app.idle_per_hour))
    for cost in costs:
        amounts = (cost.per_turn, cost.per_minute, cost.per_hour, cost.idle_per_hour, cost.at_rest_per_hour)
        sums.add_row(Text(cost.name, "bold"), *map(dollars, amounts))
    return Group(apps, sums)


def past_table(costs: Sequence[PastCost]) -> RenderableType:
    """The same for turns that were."""
    apps = _apps_table("alive", "at work", "in all")
    sums = plain_table("", figures=PAST_HEADINGS)
    for cost in costs:
        for app in cost.apps:
            seconds = f"{app.alive_s:,.0f} s", f"{app.busy_s:,.0f} s"
            apps.add_row(*_app(app.priced), *seconds, dollars(app.dollars))
        name, *figures = past_cells(cost)
        sums.add_row(Text(name, "bold"), *figures)
    return Group(apps, sums)


def past_cells(cost: PastCost) -> tuple[str, ...]:
    """The name of a deployment, and what is below PAST_HEADINGS."""
    counts = f"{len(cost.past.turns):,}", f"{cost.past.conversation_s / 60:,.1f} min"
    return cost.name, *counts, *map(dollars, (cost.per_turn, cost.per_minute, cost.dollars))


def bulleted(sentences: Iterable[str]) -> RenderableType:
    """A line, or several, for each."""
    table = Table.grid(padding=(0, 1))
    for sentence in sentences:
        table.add_row("·", sentence)
    return table


def explanation(costs: Sequence[DeploymentCost]) -> Iterator[str]:
    """The formulas, a line each, and with the figures of each app put in."""
    apps = _each_app(costs)
    yield "An hour of an app = 3600 * container_s * containers, in dollars, where"
    yield "container_s = (cores * core_s + GiB * gib_s + GPUs * gpu_s) * the region's multiplier"
    for app in apps:
        priced = app.priced
        has = f"cores {priced.cpu:g}, GiB {priced.memory_gib:g}, GPU {priced.gpu or 'none'}"
        yield f"  {priced.app}: {has}: ${priced.container_s:.4g}"
    yield f"and containers are these.\n\n{inspect.getdoc(expected_containers)}\n"
    for app in apps:
        scaling, containers = app.priced.scaling, app.containers
        yield (
            f"  {app.priced.app}: k = {scaling.calls_at_once}, busy_s = {app.busy_s:g}, held_s = "
            f"{app.held_s:g}, window_s = {scaling.window_s:g}: {containers.alive:.3f} run, "
            f"{containers.working:.3f} work, {containers.cold_starts_per_hour:.2f} cold starts an hour"
        )


def _each_app(costs: Sequence[DeploymentCost]) -> list[AppCost]:
    """Each once: in every deployment an app has the same load."""
    return list({app.priced.app: app for cost in costs for app in cost.apps}.values())


def dollars(amount: float | None) -> str:
    """To three digits, or to the cent; - for none."""
    if amount is None:
        return "-"
    if amount < LEAST or amount >= 1000:
        return f"${amount:,.0f}"
    return f"${amount:.{max(2, 2 - math.floor(math.log10(amount)))}f}"


def _apps_table(*figures: str) -> Table:
    return plain_table("app", "on", folded=("models",), figures=("an hour each", *figures))


def _app(priced: PricedApp) -> tuple[str | Text, ...]:
    models = ", ".join(model.name for model in priced.models)
    name = Text(priced.app, "bold" if priced.app is App.MONOLITH else "")
    return name, priced.gpu or "CPU", models or "-", dollars(priced.container_s * 3600)
