"""`s2s logs`: what the containers of apps have printed."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import modal
import typer

from client.cloud.modal_connection import is_deployed, run_on_modal
from client.display.terminal import printable
from client.targets import App
from shared.errors import Misconfigured

LogLine = tuple[datetime, App, str]


def logs_command(apps: Sequence[App], *, follow: bool) -> None:
    """Run the command; see `s2s logs --help`."""
    run_on_modal(lambda: _print_logs(apps, follow=follow))


async def logs_of_last_hour(apps: Sequence[App]) -> list[LogLine]:
    """The lines of the last hour of deployed apps, oldest first."""
    since, lines = datetime.now(UTC) - timedelta(hours=1), []
    for app in apps:
        async for entry in (await _logs(app)).fetch.aio(since=since):
            lines += [(entry.timestamp, app, line) for line in entry.message.splitlines()]
    return sorted(lines, key=lambda line: line[0])


async def _print_logs(apps: Sequence[App], *, follow: bool) -> None:
    deployed = [app for app in apps if await is_deployed(app)]
    if not deployed:
        raise Misconfigured(f"Not deployed: {', '.join(app.modal_name for app in apps)}. Run: s2s deploy")
    name_width = max(map(len, deployed)) + 1 if len(deployed) > 1 else 0

    def show(app: App, line: str) -> None:
        typer.echo(f"{app:<{name_width}}"[:name_width] + printable(line))

    async def show_new(app: App) -> None:
        async for entry in (await _logs(app)).stream.aio():
            for line in entry.message.splitlines():
                show(app, line)

    if follow:
        await asyncio.gather(*(show_new(app) for app in deployed))
    else:
        for _, app, line in await logs_of_last_hour(deployed):
            show(app, line)


async def _logs(app: App) -> Any:
    return (await modal.App.lookup.aio(app.modal_name)).logs
