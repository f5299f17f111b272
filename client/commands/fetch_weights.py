"""`s2s fetch-weights`: download the selected models' weights before they are loaded."""

import typer

from services.selection import select
from services.weights import fetch
from shared.settings import settings


def fetch_weights_command(*, on_modal: bool) -> None:
    """Run the command; see `s2s fetch-weights --help`."""
    models = [model for model in select(settings(), on_modal=on_modal) if model.engine.weights()]
    if not models:
        typer.echo("None of the selected models has weights to fetch.")
    elif on_modal:
        from client.cloud.deploy import check_secrets, fetch_weights_on_modal  # needs modal
        from client.cloud.modal_connection import run_on_modal

        run_on_modal(lambda: check_secrets(models))
        fetch_weights_on_modal(models)
    else:
        for model in models:
            weights = model.engine.weights()
            assert weights, "chosen by it"
            typer.echo(f"{model.name}: {weights.repository} is in {fetch(weights)}")
