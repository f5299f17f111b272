"""Modal app speech-to-speech-weights: the selected engines' weights into the Volume, on CPUs.

Run: make fetch-weights
"""

import asyncio

import modal

from services.images import WEIGHTS_FOLDER, weights_image
from services.modal_service import secret_of, weights_volume
from services.selection import select
from services.weight_fetching import fetch
from shared.engines import Weights
from shared.errors import SpeechError
from shared.settings import settings

SELECTED = [weights for model in select(settings()).models if (weights := model.engine.weights())]

VOLUME = weights_volume()

app = modal.App("speech-to-speech-weights")


@app.function(
    image=weights_image(settings()),
    volumes={WEIGHTS_FOLDER: VOLUME},
    secrets=[secret_of(token) for token in sorted({weights.token for weights in SELECTED if weights.token})],
    timeout=3600,
    include_source=False,
)
async def fetch_weights(weights: Weights) -> str:
    """Fetch them into the Volume; returns the folder. What is there is not fetched again."""
    folder = await asyncio.to_thread(fetch, weights)
    await VOLUME.commit.aio()  # type: ignore[no-untyped-call]
    return str(folder)


@app.local_entrypoint()
async def main() -> None:
    """Fetch all that the selected engines need, each in a container of its own."""
    if not SELECTED:
        _tell("None of the selected models has weights to fetch.")
        return
    try:
        await asyncio.gather(*(_fetched(weights) for weights in SELECTED))
    except SpeechError as error:
        raise SystemExit(f"speech-to-speech: {error}") from None


async def _fetched(weights: Weights) -> None:
    folder = await fetch_weights.remote.aio(weights)
    _tell(f"{weights.repository} is in the Volume, at {folder}")


def _tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (it is a command's output)
