"""`s2s warm`: start a container of each app, so that the next turn meets no cold start."""

import asyncio
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.cloud.gateway import start_gateway
from client.cloud.modal_connection import app_function, run_on_modal
from client.display.terminal import plain_table, print_json
from client.errors import exit_code_of
from client.targets import SERVICES, App
from orchestrator.modal_errors import typed_errors
from orchestrator.modal_stages import ModalStages
from shared.deployment import Health
from shared.errors import SpeechError, Stage
from shared.settings import settings
from shared.turn import Failure

Warmed = dict[App, list[Health] | Failure]
"""By app, the engines that are ready (the orchestrator has none), or why they are not."""


def warm_command(apps: Sequence[App], *, as_json: bool) -> None:
    """Run the command; see `s2s warm --help`. It ends with the first failure's exit code."""
    with Console(stderr=True).status("Starting containers …"):
        ready = run_on_modal(lambda: warmed(apps))
    if as_json:
        print_json({app.modal_name: _as_json(one) for app, one in ready.items()})
    else:
        Console().print(_table(ready))
    for one in ready.values():
        if isinstance(one, Failure):
            raise typer.Exit(exit_code_of(one.to_error()))


async def warmed(apps: Sequence[App]) -> Warmed:
    """Start a container of each app that has none, all at once, and wait until they are ready."""
    stages = ModalStages(settings())
    return dict(zip(apps, await asyncio.gather(*(_warmed(app, stages) for app in apps)), strict=True))


async def _warmed(app: App, stages: ModalStages) -> list[Health] | Failure:
    if app not in SERVICES:
        try:
            with typed_errors(Stage.ORCHESTRATOR, app.modal_name):
                return await _warm_app(app)
        except SpeechError as error:
            return Failure.of(error)
    health = await stages.health(Stage(app.value))
    return health if isinstance(health, Failure) else [health]


async def _warm_app(app: App) -> list[Health] | Failure:
    if app is App.GATEWAY:
        await start_gateway()
        return []
    if app is App.MONOLITH:
        engines = await app_function(app, "warm").remote.aio()
        return next((one for one in engines if isinstance(one, Failure)), engines)
    async for _ in app_function(app, "stream_turn").remote_gen.aio(None):
        pass
    return []


def _as_json(one: list[Health] | Failure) -> dict[str, object]:
    failed = isinstance(one, Failure)
    return {"ready": not failed, "engines": [] if failed else one, "error": one if failed else None}


def _table(ready: Warmed) -> Table:
    table = plain_table("app", folded=("", "device", "loaded in", "ready for"))
    for app, one in ready.items():
        if isinstance(one, Failure):
            table.add_row(app.modal_name, Text(one.message, "red"))
        elif not one:
            table.add_row(app.modal_name, Text("ready", "green"))
        else:
            for health in one:
                times = (f"{health.load_s:.1f} s", f"{health.uptime_s:,.0f} s")
                table.add_row(app.modal_name, health.model, health.device, *times)
    return table
