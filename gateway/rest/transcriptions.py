"""/v1/audio/transcriptions: an audio file is transcribed, as a turn that ends with its transcript."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, Any, Literal

from openai.types.audio import Transcription, TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
from openai.types.audio.transcription import UsageDuration
from openai.types.audio.transcription_text_done_event import Usage
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from gateway.access import Caller
from gateway.backend import Backend
from gateway.errors import InvalidRequest
from gateway.metrics import Metrics
from gateway.rest.requests import read_form, unless_client_leaves
from gateway.rest.streaming import EVENT_STREAM, event, events, streamed
from gateway.usage import audio_tokens, text_tokens, token_usage
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, resample
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.payloads import first_problem
from shared.settings import Settings
from shared.turn import TranscriptReady, TurnFailed, TurnRequest

UNDETERMINED = "und"
"""The language of a transcript whose request did not name one, by ISO 639-2: the stage does not say."""


class TranscriptionRequest(BaseModel):
    """What is asked for, but for the file. Other fields (`model`, `prompt`, `temperature`, `include[]`) are
    taken and have no effect."""

    language: Annotated[str | None, BeforeValidator(lambda text: text or None)] = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    timestamp_granularities: list[Literal["word", "segment"]] = Field(default=[], max_length=2)
    stream: bool = False


class TranscriptionEndpoint:
    """Answers the requests."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics
        # One a core: what waits is on disk, and the threads are everybody's.
        self._decoding = asyncio.Semaphore(os.cpu_count() or 1)

    async def __call__(self, request: Request, caller: Caller) -> Response:
        """One request."""
        settings = self._backend.settings
        async with read_form(request, settings.max_upload_bytes, settings.upload_timeout_s) as form:
            asked = _checked(form)
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise InvalidRequest("The form has no file.", param="file")
            async with self._decoding:
                pcm = await asyncio.to_thread(_decoded, await file.read(), settings)
        if asked.stream:
            chunks = events(self._as_events(asked, pcm), self._metrics)
            return await streamed(request, chunks, EVENT_STREAM, settings.slow_reader_timeout_s)
        text = await unless_client_leaves(request.receive, self._transcript(asked, pcm))
        return _FORMATS[asked.response_format](text, pcm.duration_s, asked)

    async def _transcript(self, asked: TranscriptionRequest, pcm: Pcm) -> str:
        """The transcript, "" if nobody speaks."""
        text = ""
        request = TurnRequest.checked(audio=pcm, language=asked.language, transcribe_only=True)
        async with aclosing(self._backend.turns(request)) as turn:
            async for one in turn:
                if isinstance(one, TranscriptReady):
                    text = one.text
                elif isinstance(one, TurnFailed):
                    raise one.to_error()
        return text

    async def _as_events(self, asked: TranscriptionRequest, pcm: Pcm) -> AsyncGenerator[bytes, None]:
        """All of the text is one delta: the stage transcribes an utterance as a whole."""
        text = await self._transcript(asked, pcm)
        if text:
            yield event(TranscriptionTextDeltaEvent(type="transcript.text.delta", delta=text))
        usage = token_usage(audio_tokens(pcm.duration_s), text_tokens([text]))
        yield event(
            TranscriptionTextDoneEvent(
                type="transcript.text.done", text=text, usage=Usage(type="tokens", **usage)
            )
        )


def _decoded(data: bytes, settings: Settings) -> Pcm:
    """The audio as ASR engines get it: what waits for one is small."""
    return resample(decode_audio(data, settings), ASR_SAMPLE_RATE_HZ)


def _checked(form: FormData) -> TranscriptionRequest:
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    granularities = form.getlist("timestamp_granularities[]") or form.getlist("timestamp_granularities")
    try:
        asked = TranscriptionRequest.model_validate({**fields, "timestamp_granularities": granularities})
    except ValidationError as error:
        place = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
        raise InvalidRequest(f"The form is not valid: {first_problem(error)}.", param=place) from None
    if "word" in asked.timestamp_granularities:
        raise InvalidRequest(
            "The ASR models give no times of words. Ask for segments.", param="timestamp_granularities"
        )
    return asked


def _usage(duration_s: float) -> UsageDuration:
    return UsageDuration(type="duration", seconds=round(duration_s, 3))


def _json(text: str, duration_s: float, asked: TranscriptionRequest) -> Response:
    return JSONResponse(Transcription(text=text, usage=_usage(duration_s)).model_dump(exclude_none=True))


def _verbose_json(text: str, duration_s: float, asked: TranscriptionRequest) -> Response:
    """Its one segment is the whole: the stage gives no times, nor what else OpenAI's segments have."""
    content: dict[str, Any] = {
        "task": "transcribe",
        "language": asked.language or UNDETERMINED,
        "duration": round(duration_s, 3),
        "text": text,
        "segments": [{"id": 0, "start": 0.0, "end": round(duration_s, 3), "text": text}] if text else [],
        "usage": _usage(duration_s).model_dump(),
    }
    return JSONResponse(content)


def _text(text: str, duration_s: float, asked: TranscriptionRequest) -> Response:
    return PlainTextResponse(f"{text}\n")


def _srt(text: str, duration_s: float, asked: TranscriptionRequest) -> Response:
    cue = f"1\n{_time(0, ',')} --> {_time(duration_s, ',')}\n{text}\n\n" if text else ""
    return PlainTextResponse(cue)


def _vtt(text: str, duration_s: float, asked: TranscriptionRequest) -> Response:
    cue = f"{_time(0, '.')} --> {_time(duration_s, '.')}\n{text}\n\n" if text else ""
    return PlainTextResponse(f"WEBVTT\n\n{cue}", media_type="text/vtt")


_FORMATS: dict[str, Callable[[str, float, TranscriptionRequest], Response]] = {
    "json": _json,
    "verbose_json": _verbose_json,
    "text": _text,
    "srt": _srt,
    "vtt": _vtt,
}


def _time(moment_s: float, point: str) -> str:
    ms = round(moment_s * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
