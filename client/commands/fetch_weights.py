"""`s2s fetch-weights` on this machine."""

import typer

from services.selection import select
from services.weights import fetch
from services.weights.pinned import SILERO_VAD, SMART_TURN
from shared.settings import settings


def fetch_weights_here() -> None:
    """Fetch the weights of the selected models, of turn detection, and of the gateway's VAD."""
    chosen = {model.name: model.engine.weights() for model in select(settings(), before_fetching=True)}
    for name, weights in {**chosen, "turn detection": SMART_TURN, "VAD": SILERO_VAD}.items():
        if weights:
            typer.echo(f"{name}: fetching {weights}", err=True)
            typer.echo(f"{name}: {weights.name} is in {fetch(weights)}")
