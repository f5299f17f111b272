"""`s2s cost`: what the selection would cost on Modal, or what turns did cost."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console, RenderableType

from client.cost import assumptions
from client.cost.deployment import PricedApp, priced_deployments, priced_gateway
from client.cost.estimate import DeploymentCost, Load, estimated
from client.cost.past import PastCost, cost_of, past_of_log, past_of_metrics
from client.cost.prices import PRICES, read_prices
from client.cost.table import bulleted, estimate_table, explanation, past_table
from client.display.terminal import print_json
from client.metrics.metrics_file import read_metrics
from client.targets import App
from shared.errors import Misconfigured
from shared.settings import settings


def estimate_command(load: Load, *, prices: Path | None, explain: bool, as_json: bool) -> None:
    """Run the command for a load; see `s2s cost --help`."""
    used = read_prices(prices or PRICES)
    deployments = [*priced_deployments(settings(), used), priced_gateway(settings(), used)]
    costs = [estimated(deployment, load) for deployment in deployments]
    taken = [
        *assumptions.of_estimate(deployments[0], load, costs),
        *assumptions.of_both(deployments[0], settings(), used),
    ]
    if as_json:
        times = {"turn_s": load.turn_s, "cycle_s": load.cycle_s}
        sums = {"deployments": [_estimate_as_json(cost) for cost in costs], "assumptions": taken}
        print_json({"prices": used, "load": asdict(load) | times, **sums})
        return
    _print(estimate_table(costs), taken)
    if explain:
        typer.echo("\n" + "\n".join(explanation(costs)))


def past_command(metrics: Path | None, *, prices: Path | None, as_json: bool) -> None:
    """Run the command for turns that were: of a metrics file, or without one of the last hour on Modal."""
    used = read_prices(prices or PRICES)
    four, monolith = priced_deployments(settings(), used)
    if metrics:
        past = past_of_metrics(read_metrics(metrics))
        costs = [cost_of(past, deployment) for deployment in (four, monolith)]
    else:
        by_runner = {App.ORCHESTRATOR: four, App.MONOLITH: monolith}
        if settings().gateway_target == "services":  # else its turns are in the monolith's log
            by_runner[App.GATEWAY] = priced_gateway(settings(), used)
        until, lines = datetime.now(UTC), _logs_of_last_hour(*by_runner)
        costs = [
            cost_of(past_of_log(lines[app], until), deployment)
            for app, deployment in by_runner.items()
            if app in lines
        ]
    taken = [*assumptions.of_past(costs, four), *assumptions.of_both(four, settings(), used)]
    if as_json:
        print_json(
            {"prices": used, "deployments": [_past_as_json(cost) for cost in costs], "assumptions": taken}
        )
    else:
        _print(past_table(costs), taken)


def _logs_of_last_hour(*apps: App) -> dict[App, list[tuple[datetime, str]]]:
    """The lines of those of the apps that are deployed; they run turns.

    Raises Misconfigured if none is deployed.
    """
    from client.cloud.logs import logs_of_last_hour  # needs modal
    from client.cloud.modal_connection import is_deployed, run_on_modal

    async def lines() -> dict[App, list[tuple[datetime, str]]]:
        deployed = [app for app in apps if await is_deployed(app)]
        return {app: [(at, line) for at, _, line in await logs_of_last_hour([app])] for app in deployed}

    found = run_on_modal(lines)
    if not found:
        raise Misconfigured("Nothing that runs turns is deployed. Run: s2s deploy")
    return found


def _print(table: RenderableType, taken: Sequence[str]) -> None:
    console = Console()
    console.print(table)
    console.print(bulleted(taken))


def _estimate_as_json(cost: DeploymentCost) -> dict[str, object]:
    apps = [
        _app_as_json(app.priced)
        | asdict(app.containers)
        | {
            "busy_s": app.busy_s,
            "per_hour": app.per_hour,
            "idle_per_hour": app.idle_per_hour,
            "at_rest_per_hour": app.at_rest_per_hour,
        }
        for app in cost.apps
    ]
    names = (
        "per_turn",
        "per_minute",
        "per_hour",
        "idle_per_hour",
        "at_rest_per_hour",
        "cold_starts_per_hour",
    )
    return {"name": cost.name, **{name: getattr(cost, name) for name in names}, "apps": apps}


def _past_as_json(cost: PastCost) -> dict[str, object]:
    apps = [
        _app_as_json(app.priced) | {"alive_s": app.alive_s, "busy_s": app.busy_s, "dollars": app.dollars}
        for app in cost.apps
    ]
    return {
        "name": cost.name,
        "turns": len(cost.past.turns),
        "conversation_s": cost.past.conversation_s,
        "per_turn": cost.per_turn,
        "per_minute": cost.per_minute,
        "dollars": cost.dollars,
        "apps": apps,
    }


def _app_as_json(priced: PricedApp) -> dict[str, object]:
    return {
        "app": priced.app,
        "models": [model.name for model in priced.models],
        "gpu": priced.gpu,
        "cpu": priced.cpu,
        "memory_gib": priced.memory_gib,
        "container_hour": priced.container_s * 3600,
        "scaling": priced.scaling,
    }
