"""`s2s stop`: the apps taken off Modal again."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence

import typer

from client.cloud.modal_connection import connected, is_deployed
from client.errors import reported_errors


def stop_command(apps: Sequence[str], *, yes: bool) -> None:
    """Run the command; see `s2s stop --help`."""
    with reported_errors(as_json=False):
        deployed = asyncio.run(_deployed(apps))
        if not deployed:
            typer.echo("None of them is deployed.")
            return
        if not yes:
            typer.confirm(f"Stop {', '.join(deployed)}, and end the turns under way?", abort=True)
        for app in deployed:
            _stop(app)


async def _deployed(apps: Sequence[str]) -> list[str]:
    await connected()
    return [app for app in apps if await is_deployed(app)]


def _stop(app: str) -> None:
    done = subprocess.run([sys.executable, "-m", "modal", "app", "stop", "--yes", app], check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)
    typer.echo(f"Stopped {app}.")
