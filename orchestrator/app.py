"""Modal app speech-to-speech: the orchestrator. Deploy: make deploy-orchestrator

One recording, answered by the deployed services:

modal run -m orchestrator.app --audio-path input.wav
"""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cache
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import modal

from orchestrator.modal_stages import ModalStages
from orchestrator.pipeline import Pipeline
from orchestrator.turn_result import TurnResultBuilder
from services.images import orchestrator_image
from shared.audio import decode_audio, encode_mp3, encode_wav, to_pcm
from shared.deployment import APPS, Health
from shared.errors import BadRequest, NoSpeech, SpeechError, Stage
from shared.logs import configure_logging
from shared.payloads import Mp3Audio
from shared.settings import Settings, settings
from shared.turn import Failure, TurnEvent, TurnRequest, TurnResult


def function_options(settings: Settings) -> dict[str, Any]:
    """What each of the functions asks of Modal."""
    orchestrator = settings.orchestrator
    return {
        "image": orchestrator_image(settings),
        "cpu": orchestrator.cpu,
        "memory": orchestrator.memory_mb,
        "min_containers": orchestrator.min_containers,
        "max_containers": orchestrator.max_containers,
        "buffer_containers": orchestrator.buffer_containers,
        "scaledown_window": orchestrator.scaledown_window_s,
        # A turn may meet a cold start in each stage, though they begin together.
        "timeout": round(settings.stage_start_timeout_s) + settings.call_timeout_s,
        "region": settings.region,
        "routing_region": settings.routing_region,
        "include_source": False,
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
    """Yield the events of a turn as they happen (see `shared.turn.TurnEvent`). None plays no turn: it
    only makes sure that there is a container for the next one.

    The first event tells the call's id: `modal.FunctionCall.from_id(call_id).cancel()` stops the turn in
    all its stages. Modal may take a running turn away and begin it anew: then the events go on with another
    `attempt_id`, or end without a TurnEnd (`client.turn_attempts.told_once` sees to both). Raises BadRequest
    if the request is none.
    """
    if request is not None:
        async with aclosing(_events(request)) as events:
            attempt_id = uuid4().hex
            async for event in events:
                yield event.model_copy(update={"attempt_id": attempt_id})


@app.function(**OPTIONS)
@modal.concurrent(**CONCURRENCY)
async def run_turn(request: TurnRequest) -> TurnResult:
    """Play a turn to its end. A failed turn is a result too, with what was finished of it.

    Raises BadRequest if the request is none.
    """
    return await _result(request)


@app.function(**OPTIONS)
@modal.concurrent(**CONCURRENCY)
async def process_audio(audio: bytes) -> bytes:
    """Answer a spoken question: any audio file in, MP3 out.

    Raises SpeechError: BadAudio or TooLong before any stage is asked, NoSpeech, or what failed the turn.
    """
    result = await _result(TurnRequest(audio=await asyncio.to_thread(_as_mp3, audio)))
    if result.failure:
        raise result.failure.to_error()
    if not isinstance(result.audio, Mp3Audio):
        raise NoSpeech("Nobody speaks in this audio, so there is nothing to answer.")
    return result.audio.mp3


@app.function(**OPTIONS)
@modal.concurrent(**CONCURRENCY)
async def warm() -> list[Health | Failure]:
    """Start a container of every service that has none, and wait until all three can work: what they
    are, or why they cannot."""
    return await _deployed().warm()


@app.local_entrypoint()
def main(audio_path: str, output_path: str = "output.wav") -> None:
    """Answer a recording: --audio-path input.wav, any format; the spoken reply goes to output.wav."""
    try:
        request = TurnRequest(audio=_as_mp3(Path(audio_path).read_bytes()))
        result = cast(TurnResult, run_turn.remote(request))
        if result.failure:
            raise result.failure.to_error()
    except (OSError, SpeechError) as error:
        raise SystemExit(f"speech-to-speech: {error}") from None
    if result.audio is None:
        raise SystemExit(f"speech-to-speech: nobody speaks in {audio_path}.")
    Path(output_path).write_bytes(encode_wav(to_pcm(result.audio)))
    _tell(f"You:   {result.transcript}\nReply: {result.reply}\nWrote {output_path}.")


@cache
def _deployed() -> ModalStages:
    """This container's calls to the services."""
    configure_logging(settings())
    # What was imported stays: a full collection of it took 40 ms in the middle of turns.
    gc.collect()
    gc.freeze()
    return ModalStages(settings())


@cache
def _pipeline() -> Pipeline:
    return Pipeline(_deployed().stages, settings())


def _events(request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
    if not isinstance(request, TurnRequest):
        raise BadRequest(f"A turn takes a TurnRequest of shared.turn, not a {type(request).__name__}.")
    _deployed().wake()
    return _pipeline().stream(request, call_id=modal.current_function_call_id() or "")


async def _result(request: TurnRequest) -> TurnResult:
    builder = TurnResultBuilder()
    async with aclosing(_events(request)) as events:
        async for event in events:
            result = await asyncio.to_thread(builder.add, event)  # it decodes speech
    assert result, "a turn ends with a TurnEnd"
    if result.audio is None:
        return result
    mp3 = await asyncio.to_thread(encode_mp3, to_pcm(result.audio), settings().mp3_bitrate_kbps)
    return result.model_copy(update={"audio": mp3})


def _as_mp3(audio: bytes) -> Mp3Audio:
    if not isinstance(audio, bytes):
        raise BadRequest(f"Audio is the bytes of an audio file, not a {type(audio).__name__}.")
    return encode_mp3(decode_audio(audio, settings()), settings().mp3_bitrate_kbps)


def _tell(text: str) -> None:
    print(text)  # noqa: T201 (it is a command's output)
