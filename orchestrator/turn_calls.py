"""What a deployed orchestrator does for those who call it, wherever its stages are."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from uuid import uuid4

from orchestrator.pipeline import Pipeline
from orchestrator.turn_result import TurnResultBuilder
from shared.audio.decode import decode_audio, to_pcm
from shared.audio.mp3 import encode_mp3
from shared.errors import BadRequest, NoSpeech
from shared.logs import configure_logging
from shared.payloads import Mp3Audio
from shared.settings import Settings
from shared.stages import Stages
from shared.turn import TurnEvent, TurnRequest, TurnResult


class TurnCalls:
    """The calls of a container that plays turns; one for all its life. `call_id` is what cancels a call."""

    def __init__(
        self, stages: Stages, settings: Settings, *, wake: Callable[[], None] = lambda: None
    ) -> None:
        """`wake` is called as each turn begins."""
        configure_logging(settings)
        # What was imported stays: a full collection of it took 40 ms in the middle of turns.
        gc.collect()
        gc.freeze()
        self._pipeline = Pipeline(stages, settings)
        self._settings = settings
        self._wake = wake

    async def stream(
        self, request: TurnRequest | None, call_id: str | None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of a turn as they happen (see `shared.turn.TurnEvent`). None plays no turn: it
        only makes sure that there is a container for the next one.

        The first event tells the call's id: `modal.FunctionCall.from_id(call_id).cancel()` stops the turn in
        all its stages. Modal may take a running turn away and begin it anew: then the events go on with
        another `attempt_id`, or end without a TurnEnd: `client.cloud.turn_attempts.deduplicated_events` sees
        to both. Raises BadRequest if the request is none.
        """
        if request is not None:
            async with aclosing(self._events(request, call_id)) as events:
                attempt_id = uuid4().hex
                async for event in events:
                    yield event.model_copy(update={"attempt_id": attempt_id})

    async def run(self, request: TurnRequest, call_id: str | None) -> TurnResult:
        """Play a turn to its end. A failed turn is a result too, with what was finished of it.

        Raises BadRequest if the request is none.
        """
        builder = TurnResultBuilder()
        async with aclosing(self._events(request, call_id)) as events:
            async for event in events:
                result = await asyncio.to_thread(builder.add, event)  # it decodes speech
        assert result, "a turn ends with a TurnEnd"
        if result.audio is None:
            return result
        mp3 = await asyncio.to_thread(encode_mp3, to_pcm(result.audio), self._settings.mp3_bitrate_kbps)
        return result.model_copy(update={"audio": mp3})

    async def answer(self, audio: bytes, call_id: str | None) -> bytes:
        """Answer a spoken question: any audio file in, MP3 out.

        Raises SpeechError: BadAudio or TooLong before any stage is asked, NoSpeech, or what failed the turn.
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

    def _events(self, request: TurnRequest, call_id: str | None) -> AsyncGenerator[TurnEvent, None]:
        if not isinstance(request, TurnRequest):
            raise BadRequest(f"A turn takes a TurnRequest of shared.turn, not a {type(request).__name__}.")
        self._wake()
        return self._pipeline.stream(request, call_id=call_id or "")


def as_mp3(audio: bytes, settings: Settings) -> Mp3Audio:
    """Any audio file as MP3. Raises what `decode_audio` does."""
    return encode_mp3(decode_audio(audio, settings), settings.mp3_bitrate_kbps)
