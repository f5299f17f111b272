"""Modal app speech-to-speech-weights: the selected engines' weights into the Volume, on CPUs.

Run: make fetch-weights
"""

import asyncio

import modal

from services.on_modal.images import WEIGHTS_FOLDER, weights_image
from services.on_modal.service import secret_of, weights_volume
from services.selection import select_model
from services.weights import fetch
from shared.errors import SpeechError, Stage
from shared.settings import settings
from shared.weights import Weights

VOLUME = weights_volume()

app = modal.App("speech-to-speech-weights")


@app.function(
    image=weights_image(settings()), volumes={WEIGHTS_FOLDER: VOLUME}, timeout=3600, include_source=False
)
async def fetch_weights(weights: Weights) -> str:
    """Fetch them into the Volume; returns the folder. Cached files are skipped."""
    folder = await asyncio.to_thread(fetch, weights)
    await VOLUME.commit.aio()  # type: ignore[no-untyped-call]
    return str(folder)


@app.local_entrypoint()
async def main(stages: str = "asr,llm,tts") -> None:
    """Fetch the weights of these stages' selected engines, each in a container of its own."""
    models = [select_model(Stage(stage), settings(), on_modal=True) for stage in stages.split(",")]
    needed = [weights for model in models if (weights := model.engine.weights())]
    if not needed:
        print("None of the selected models has weights to fetch.")  # noqa: T201 (a command's output)
        return
    try:
        await asyncio.gather(*(_fetched(weights) for weights in needed))
    except SpeechError as error:
        raise SystemExit(f"speech-to-speech: {error}") from None


async def _fetched(weights: Weights) -> None:
    function = fetch_weights
    if weights.token:
        function = function.with_options(secrets=[secret_of(weights.token)])
    folder = await function.remote.aio(weights)
    print(f"{weights.name} is in the Volume, at {folder}", flush=True)  # noqa: T201
