"""`s2s fetch-weights`: what the selected models need of the model hub, before they are loaded."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from client.errors import reported_errors
from services.selection import select
from services.weights.fetching import fetch
from shared.errors import Stage
from shared.settings import settings

PROJECT = Path(__file__).parents[2]


def fetch_weights_command(*, on_modal: bool) -> None:
    """Run the command; see `s2s fetch-weights --help`."""
    with reported_errors(as_json=False):
        models = [model for model in select(settings(), on_modal=on_modal).models if model.engine.weights()]
        if not models:
            typer.echo("None of the selected models has weights to fetch.")
        elif on_modal:
            fetch_on_modal([model.stage for model in models])
        else:
            for model in models:
                weights = model.engine.weights()
                assert weights, "chosen by it"
                typer.echo(f"{model.name}: {weights.repository} is in {fetch(weights)}")


def fetch_on_modal(stages: Sequence[Stage]) -> None:
    """Have Modal fetch the weights of these stages' models, by a function that runs for as long as it
    takes."""
    from services.on_modal.images import weights_image

    weights_image(settings())  # what is wrong with it is said here, not from within Modal's command
    done = subprocess.run(
        [sys.executable, "-m", "modal", "run", "-m", "services.weights_app", "--stages", ",".join(stages)],
        cwd=PROJECT,
        env=os.environ | settings().environ(),
        check=False,
    )
    if done.returncode:
        raise typer.Exit(done.returncode)
