"""`s2s warm`: a container of each app started and loaded, so that the next turn meets no cold start."""

import asyncio
import json

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.cloud.warming import Warmed, warmed
from client.errors import exit_code_of, reported_errors
from shared.deployment import Health
from shared.turn import Failure


def warm_command(*, as_json: bool) -> None:
    """Run the command; see `s2s warm --help`. It ends with the first failure's exit code."""
    with reported_errors(as_json=as_json):
        with Console(stderr=True).status("Starting what is not there yet …"):
            ready = asyncio.run(warmed())
        if as_json:
            typer.echo(json.dumps({app: _as_json(one) for app, one in ready.items()}, indent=2))
        else:
            Console().print(_table(ready))
        for one in ready.values():
            if isinstance(one, Failure):
                raise typer.Exit(exit_code_of(one.to_error()))


def _as_json(one: Health | Failure | None) -> dict[str, object]:
    told = one.model_dump(mode="json") if one else {}
    return {"ready": not isinstance(one, Failure)} | told


def _table(ready: Warmed) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("app", no_wrap=True)
    for heading in ("", "device", "loaded in", "ready for"):
        table.add_column(heading, overflow="fold")
    for app, one in ready.items():
        match one:
            case Health():
                times = (f"{one.load_s:.1f} s", f"{one.uptime_s:,.0f} s")
                table.add_row(app, one.model, one.device, *times)
            case Failure():
                table.add_row(app, Text(one.message, "red"))
            case None:
                table.add_row(app, Text("ready", "green"))
    return table
