"""The orchestrator's API: what a deployed orchestrator does for its callers, wherever its stages are."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing

from orchestrator.pipeline import Pipeline
from orchestrator.turn_result import TurnResultBuilder
from shared.audio.decode import decode_audio, to_pcm
from shared.audio.mp3 import encode_mp3
from shared.errors import BadRequest, NoSpeech
from shared.logs import configure_logging
from shared.payloads import Mp3Audio
from shared.settings import Settings
from shared.stage_stream import Stages
from shared.turn import TurnEvent, TurnRequest, TurnResult


class OrchestratorApi:
    """Runs the turns of one container, for all its life. `call_id` is what cancels a call."""

    def __init__(self, stages: Stages, settings: Settings) -> None:
        configure_logging(settings)
        # What was imported stays: a full collection of it took 40 ms in the middle of turns.
        gc.collect()
        gc.freeze()
        self._pipeline = Pipeline(stages, settings)
        self._settings = settings

    def stream(self, request: TurnRequest, call_id: str | None) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of a turn as they happen (see `shared.turn.TurnEvent`).

        The first event holds the call's id: `modal.FunctionCall.from_id(call_id).cancel()` stops the turn in
        all its stages. Modal may interrupt a turn and run it again elsewhere: then the events go on with
        another `attempt_id`, or end without a TurnEnd (`client.cloud.turn_attempts.deduplicated_events` sees
        to both). Raises BadRequest if the request is none.
        """
        if not isinstance(request, TurnRequest):
            raise BadRequest(f"A turn takes a TurnRequest of shared.turn, not a {type(request).__name__}.")
        return self._pipeline.stream(request, call_id=call_id or "")

    async def run(self, request: TurnRequest, call_id: str | None) -> TurnResult:
        """Run a turn to its end. A failed turn is a result too, with what was finished of it.

        Raises BadRequest if the request is none.
        """
        builder = TurnResultBuilder()
        async with aclosing(self.stream(request, call_id)) as events:
            async for event in events:
                result = await asyncio.to_thread(builder.add, event)  # it decodes speech
        assert result, "a turn ends with a TurnEnd"
        if result.audio is None:
            return result
        mp3 = await asyncio.to_thread(encode_mp3, to_pcm(result.audio), self._settings.mp3_bitrate_kbps)
        return result.model_copy(update={"audio": mp3})

    async def answer(self, audio: bytes, call_id: str | None) -> bytes:
        """Answer a spoken question: any audio file in, MP3 out.

        Raises SpeechError: BadAudio or TooLong before any stage is called, NoSpeech, or what failed the turn.
        """
        if not isinstance(audio, bytes):
            raise BadRequest(f"Audio is the bytes of an audio file, not a {type(audio).__name__}.")
        mp3 = await asyncio.to_thread(as_mp3, audio, self._settings)
        result = await self.run(TurnRequest(audio=mp3), call_id)
        if result.failure:
            raise result.failure.to_error()
        if not isinstance(result.audio, Mp3Audio):
            raise NoSpeech("Nobody speaks in this audio, so there is nothing to answer.")
        return result.audio.mp3


def as_mp3(audio: bytes, settings: Settings) -> Mp3Audio:
    """Any audio file as MP3. Raises what `decode_audio` does."""
    return encode_mp3(decode_audio(audio, settings), settings.mp3_bitrate_kbps)
