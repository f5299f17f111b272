"""`s2s stop`: stop deployed apps."""

from collections.abc import Sequence

import modal
import typer

from client.cloud.modal_connection import is_deployed, run_on_modal
from client.targets import App
from shared.errors import SpeechError


def stop_command(apps: Sequence[App], *, yes: bool) -> None:
    """Run the command; see `s2s stop --help`. If it fails half-way, the error says which apps are left."""
    left = run_on_modal(lambda: _deployed(apps))
    if not left:
        typer.echo("None of them is deployed.")
        return
    if not yes:
        typer.confirm(f"Stop {', '.join(left)}? Turns in progress end.", abort=True)
    try:
        run_on_modal(lambda: _stop(left))
    except SpeechError as error:
        raise type(error)(f"{error.message} Left to stop: {', '.join(left)}.", error.stage) from error


async def _deployed(apps: Sequence[App]) -> list[str]:
    return [app.modal_name for app in apps if await is_deployed(app)]


async def _stop(apps: list[str]) -> None:
    """Stop the apps one by one, and remove from the list each that has stopped."""
    while apps:
        app = await modal.App.lookup.aio(apps[0])
        await app.stop.aio()
        typer.echo(f"Stopped {apps.pop(0)}.")
