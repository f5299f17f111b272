"""`python -m tests.deployed.chaos`: exit code 1 if anything was wrong, doubled, lost or leaked."""

import json
import logging
import random
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.deployed.chaos.run import run

console = Console(stderr=True)


def chaos(
    turns: Annotated[int, typer.Option(min=1, help="How many turns.")] = 100,
    seed: Annotated[int | None, typer.Option(help="What is asked and broken; chosen for you if not.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the account as one JSON object.")] = False,
) -> None:
    """Many turns on a local control plane while containers die, apps are deployed anew and clients leave."""
    logging.basicConfig(level=logging.ERROR)  # troubles are what is wanted
    seed = random.randrange(10**6) if seed is None else seed
    console.print(f"Chaos: {turns} turns, seed {seed}", highlight=False)
    columns = (TextColumn("Turns"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("", total=turns)
        account = run(turns, seed, Path(folder), lambda: progress.advance(task))
    typer.echo(json.dumps(account.as_json(), indent=2) if as_json else account.as_text())
    raise typer.Exit(0 if account.clean else 1)


if __name__ == "__main__":
    typer.run(chaos)
