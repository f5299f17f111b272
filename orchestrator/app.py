"""Modal app speech-to-speech: the orchestrator. Deploy: make deploy-orchestrator

One recording, answered by the deployed services:

modal run -m orchestrator.app --audio-path input.wav
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cache
from typing import Any

import modal

from orchestrator.modal_stages import ModalStages
from orchestrator.recording import answer_recording
from orchestrator.turn_calls import TurnCalls
from services.on_modal.images import orchestrator_image
from services.on_modal.service import container_options
from shared.deployment import APPS, Health
from shared.errors import Stage
from shared.settings import Settings, settings
from shared.turn import Failure, TurnEvent, TurnRequest, TurnResult


def function_options(settings: Settings) -> dict[str, Any]:
    """What each of the functions asks of Modal."""
    return {
        "image": orchestrator_image(settings),
        # A turn may meet a cold start in each stage, though they begin together.
        "timeout": round(settings.stage_start_timeout_s) + settings.call_timeout_s,
        **container_options(settings.orchestrator, settings),
    }


def concurrency(settings: Settings) -> dict[str, int]:
    """How many calls a container takes: more than it has turns for, so that a turn too many is refused
    here and now, rather than left waiting at Modal's door."""
    return {"max_inputs": 2 * settings.max_active_turns, "target_inputs": settings.max_active_turns}


OPTIONS = function_options(settings())
CONCURRENCY = concurrency(settings())

app = modal.App(APPS[Stage.ORCHESTRATOR])


@app.function(**OPTIONS)
@modal.concurrent(**CONCURRENCY)
async def stream_turn(request: TurnRequest | None) -> AsyncGenerator[TurnEvent, None]:
    """See `orchestrator.turn_calls.TurnCalls.stream`."""
    async with aclosing(_turn_calls().stream(request, modal.current_function_call_id())) as events:
        async for event in events:
            yield event


@app.function(**OPTIONS)
@modal.concurrent(**CONCURRENCY)
async def run_turn(request: TurnRequest) -> TurnResult:
    """See `orchestrator.turn_calls.TurnCalls.run`."""
    return await _turn_calls().run(request, modal.current_function_call_id())


@app.function(**OPTIONS)
@modal.concurrent(**CONCURRENCY)
async def process_audio(audio: bytes) -> bytes:
    """See `orchestrator.turn_calls.TurnCalls.answer`."""
    return await _turn_calls().answer(audio, modal.current_function_call_id())


@app.function(**OPTIONS)
@modal.concurrent(**CONCURRENCY)
async def warm() -> list[Health | Failure]:
    """Start a container of every service that has none, and wait until all three can work: what they
    are, or why they cannot."""
    return await _deployed().warm()


@app.local_entrypoint()
def main(audio_path: str, output_path: str = "output.wav") -> None:
    """Answer a recording: --audio-path input.wav, any format; the spoken reply goes to output.wav."""
    answer_recording(run_turn.remote, audio_path, output_path)


@cache
def _deployed() -> ModalStages:
    """This container's calls to the services."""
    return ModalStages(settings())


@cache
def _turn_calls() -> TurnCalls:
    return TurnCalls(_deployed(), settings(), wake=_deployed().wake)
