"""/v1/audio/speech: a text is synthesized, chunk by chunk, and each chunk is sent while the next is made."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.access import Caller
from gateway.backend import Backend
from gateway.errors import InvalidRequest
from gateway.metrics import Metrics
from gateway.rest.requests import read_json
from gateway.rest.stage_calls import outputs
from gateway.rest.streaming import EVENT_STREAM, event, events, run_ahead, streamed
from gateway.speech_encoder import (
    MAX_SPEED,
    MIN_SPEED,
    SAMPLE_RATE_HZ,
    SpeechEncoder,
    SpeechFormat,
    media_type,
)
from gateway.usage import speech_tokens, text_tokens, token_usage
from orchestrator.chunker import Chunker
from shared.audio.decode import to_pcm
from shared.errors import Stage
from shared.payloads import Speech
from shared.stage_stream import AudioSegment

MAX_INPUT_CHARACTERS = 4_096
MAX_REQUEST_BYTES = 64 * 2**10


class CustomVoice(BaseModel):
    """A voice by its id."""

    id: Annotated[str, Field(max_length=100)]


class SpeechRequest(BaseModel):
    """What is asked for. Other fields (`model`, `instructions`) are taken and have no effect."""

    input: str = Field(min_length=1, max_length=MAX_INPUT_CHARACTERS, repr=False)
    voice: Annotated[str, Field(max_length=100)] | CustomVoice = ""
    response_format: SpeechFormat = "mp3"
    speed: float = Field(default=1.0, ge=MIN_SPEED, le=MAX_SPEED)
    stream_format: Literal["audio", "sse"] = "audio"

    @property
    def voice_name(self) -> str:
        """The voice, as the client names it."""
        return self.voice if isinstance(self.voice, str) else self.voice.id


class SpeechEndpoint:
    """Answers the requests."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics

    async def __call__(self, request: Request, caller: Caller) -> Response:
        """One request."""
        settings = self._backend.settings
        asked = await read_json(request, SpeechRequest, settings.upload_timeout_s, MAX_REQUEST_BYTES)
        encoder = await asyncio.to_thread(SpeechEncoder, asked.response_format, asked.speed)
        audio, kind = self._encoded(asked, encoder), media_type(asked.response_format)
        if asked.stream_format == "sse":
            audio, kind = events(_as_events(asked, audio, encoder), self._metrics), EVENT_STREAM
        return await streamed(request, audio, kind, settings.slow_reader_timeout_s)

    async def _encoded(self, asked: SpeechRequest, encoder: SpeechEncoder) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._synthesized(asked)) as segments:
                async for segment in segments:
                    if data := await asyncio.to_thread(_encode, encoder, segment):
                        yield data
            if not encoder.num_samples:
                raise InvalidRequest("Nothing of the input can be spoken by this voice.", param="input")
            yield await asyncio.to_thread(encoder.finish)
        finally:
            await asyncio.to_thread(encoder.close)

    async def _synthesized(self, asked: SpeechRequest) -> AsyncGenerator[Speech, None]:
        settings = self._backend.settings
        voice = settings.gateway_voice(asked.voice_name)
        chunker = Chunker.of(settings)
        chunker.write(asked.input)
        chunker.close()
        while (text := await chunker.next_chunk()) is not None:
            stream = self._backend.stages.synthesize(text, voice=voice)
            segments = run_ahead(outputs(Stage.TTS, stream, AudioSegment, settings, self._metrics))
            async with aclosing(segments):
                async for segment in segments:
                    yield segment.audio


async def _as_events(
    asked: SpeechRequest, audio: AsyncGenerator[bytes, None], encoder: SpeechEncoder
) -> AsyncGenerator[bytes, None]:
    async with aclosing(audio):
        async for data in audio:
            yield event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
    usage = token_usage(text_tokens([asked.input]), speech_tokens(encoder.num_samples / SAMPLE_RATE_HZ))
    yield event({"type": "speech.audio.done", "usage": usage})


def _encode(encoder: SpeechEncoder, speech: Speech) -> bytes:
    return encoder.write(to_pcm(speech))
