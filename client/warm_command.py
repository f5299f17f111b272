"""`s2s warm`: a container of each app started and loaded, so that the next turn meets no cold start."""

import asyncio
import json

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.command_errors import reported_errors
from client.exit_code import exit_code_of
from client.modal_connection import connected, modal_library
from orchestrator.modal_errors import typed_errors
from orchestrator.modal_stages import ModalStages
from shared.deployment import APPS, Health
from shared.errors import SpeechError, Stage
from shared.settings import settings
from shared.turn import Failure


def warm_command(*, as_json: bool) -> None:
    """Run the command; see `s2s warm --help`. It ends with the first failure's exit code."""
    with reported_errors(as_json=as_json):
        with Console(stderr=True).status("Starting what is not there yet …"):
            warmed = asyncio.run(_warmed())
        if as_json:
            typer.echo(json.dumps({app: _as_json(one) for app, one in warmed.items()}, indent=2))
        else:
            Console().print(_table(warmed))
        for one in warmed.values():
            if isinstance(one, Failure):
                raise typer.Exit(exit_code_of(one.to_error()))


Warmed = dict[str, Health | Failure | None]
"""By app, what runs there or why it does not; the orchestrator has no engine to tell of."""


async def _warmed() -> Warmed:
    await connected()
    services, orchestrator = await asyncio.gather(ModalStages(settings()).warm(), _orchestrator())
    return {APPS[one.stage]: one for one in services} | {APPS[Stage.ORCHESTRATOR]: orchestrator}


async def _orchestrator() -> Failure | None:
    stream_turn = modal_library().Function.from_name(APPS[Stage.ORCHESTRATOR], "stream_turn")
    try:
        with typed_errors(Stage.ORCHESTRATOR):
            async for _ in stream_turn.remote_gen.aio(None):
                pass
    except SpeechError as error:
        return Failure.of(error)
    return None


def _as_json(one: Health | Failure | None) -> dict[str, object]:
    told = one.model_dump(mode="json") if one else {}
    return {"ready": not isinstance(one, Failure)} | told


def _table(warmed: Warmed) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("app", no_wrap=True)
    for heading in ("", "device", "loaded in", "ready for"):
        table.add_column(heading, overflow="fold")
    for app, one in warmed.items():
        match one:
            case Health():
                times = (f"{one.load_s:.1f} s", f"{one.uptime_s:,.0f} s")
                table.add_row(app, one.model, one.device, *times)
            case Failure():
                table.add_row(app, Text(one.message, "red"))
            case None:
                table.add_row(app, Text("ready", "green"))
    return table
