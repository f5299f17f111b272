"""The class of the orchestrator's two Modal apps: where its stages run is all that differs."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import modal
import modal.experimental

from orchestrator.pipeline import Pipeline
from orchestrator.turn_result import TurnResultBuilder
from shared.audio.decode import decode_audio, to_pcm
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import encode_wav
from shared.deployment import Health
from shared.errors import BadRequest, NoSpeech, SpeechError
from shared.logs import configure_logging
from shared.payloads import Mp3Audio
from shared.settings import settings
from shared.telemetry import telemetry
from shared.turn import Failure, TurnEvent, TurnRequest, TurnResult

if TYPE_CHECKING:
    from orchestrator.modal_stages import ModalStages
    from orchestrator.monolith_app import ProcessStages


class TurnService:
    """Base of the two classes: runs the turns of one container. All methods share their class's containers.
    A subclass adds `start`."""

    async def begin(self, stages: "ModalStages | ProcessStages", app: str) -> None:
        """Make ready for turns; what a subclass, of this app, does in its `start`."""
        configure_logging(settings())
        # What was imported stays: a full collection of it took 40 ms in the middle of turns.
        gc.collect()
        gc.freeze()
        self._exit = AsyncExitStack()
        self._exit.enter_context(telemetry(app))
        await self._exit.enter_async_context(stages)
        self.stages = stages
        self._pipeline = Pipeline(stages, settings())

    @modal.exit()
    async def stop(self) -> None:
        """End what the stages hold."""
        await self._exit.aclose()

    @modal.method()
    async def stream_turn(self, request: TurnRequest | None) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of a turn as they happen (see `shared.turn.TurnEvent`). None runs no turn: it only
        starts a container where there is none.

        The first event holds the call's id: `modal.FunctionCall.from_id(call_id).cancel()` stops the turn in
        all its stages. Modal may interrupt a turn and run it again elsewhere: then the events go on with
        another `attempt_id`, or end without a TurnEnd (`orchestrator.turn_attempts.deduplicated_events` sees
        to both). Raises BadRequest if the request is none.
        """
        if request is not None:
            async with aclosing(self._events(request)) as events:
                async for event in events:
                    yield event

    @modal.method()
    async def run_turn(self, request: TurnRequest) -> TurnResult:
        """Run a turn to its end. A failed turn is a result too, with what was finished of it.

        Raises BadRequest if the request is none.
        """
        return await self._result(request)

    @modal.method()
    async def process_audio(self, audio: bytes) -> bytes:
        """Answer a spoken question: any audio file in, MP3 out.

        Raises SpeechError: BadAudio or TooLong before any stage is called, NoSpeech, or what failed the turn.
        """
        if not isinstance(audio, bytes):
            raise BadRequest(f"Audio is the bytes of an audio file, not a {type(audio).__name__}.")
        result = await self._result(TurnRequest(audio=await asyncio.to_thread(_as_mp3, audio)))
        if result.failure:
            raise result.failure.to_error()
        if not isinstance(result.audio, Mp3Audio):
            raise NoSpeech("Nobody speaks in this audio, so there is nothing to answer.")
        return result.audio.mp3

    @modal.method()
    async def warm(self) -> list[Health | Failure]:
        """Have all three engines loaded, in containers that are started where there are none: what they are,
        or why they cannot work."""
        return await self.stages.warm()

    async def _events(self, request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        """A container that has lost an engine takes no more calls: Modal starts another one."""
        if not isinstance(request, TurnRequest):
            raise BadRequest(f"A turn takes a TurnRequest of shared.turn, not a {type(request).__name__}.")
        stream = self._pipeline.stream(request, call_id=modal.current_function_call_id() or "")
        try:
            async with aclosing(stream) as events:
                async for event in events:
                    yield event
        finally:
            if self.stages.is_broken:
                await modal.experimental.stop_fetching_inputs.aio()

    async def _result(self, request: TurnRequest) -> TurnResult:
        builder = TurnResultBuilder()
        async with aclosing(self._events(request)) as events:
            async for event in events:
                result = await asyncio.to_thread(builder.add, event)  # it decodes speech
        assert result, "a turn ends with a TurnEnd"
        if result.audio is None:
            return result
        bitrate_kbps = settings().mp3_bitrate_kbps
        mp3 = await asyncio.to_thread(encode_mp3, to_pcm(result.audio), bitrate_kbps)
        return result.model_copy(update={"audio": mp3})


def _as_mp3(audio: bytes) -> Mp3Audio:
    """Any audio file as MP3. Raises what `decode_audio` does."""
    return encode_mp3(decode_audio(audio, settings()), settings().mp3_bitrate_kbps)


def answer_recording(service: Any, audio_path: str, output_path: str) -> None:
    """Have a service's class answer a recording: what `modal run` does. The spoken reply is written as WAV,
    the texts are printed; a failure ends the program with one line."""
    try:
        request = TurnRequest(audio=_as_mp3(Path(audio_path).read_bytes()))
        result = cast(TurnResult, service().run_turn.remote(request))
        if result.failure:
            raise result.failure.to_error()
    except (OSError, SpeechError) as error:
        raise SystemExit(f"speech-to-speech: {error}") from None
    if result.audio is None:
        raise SystemExit(f"speech-to-speech: nobody speaks in {audio_path}.")
    Path(output_path).write_bytes(encode_wav(to_pcm(result.audio)))
    print(f"You:   {result.transcript}\nReply: {result.reply}\nWrote {output_path}.")  # noqa: T201
