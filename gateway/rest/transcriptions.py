"""/v1/audio/transcriptions: an audio file is transcribed, as a turn that ends with its transcript."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal, cast

from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
from openai.types.audio.transcription_text_done_event import Usage
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from gateway.access import Caller
from gateway.backend import Backend
from gateway.errors import InvalidRequest
from gateway.metrics import Metrics
from gateway.rest.requests import read_form, unless_client_leaves
from gateway.rest.streaming import EVENT_STREAM, event, events, streamed
from gateway.rest.transcript_formats import FORMATS, TIMED_FORMATS, TimedTranscript
from gateway.usage import audio_tokens, text_tokens, token_usage
from services.selection import discover
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, resample
from shared.engines import ASR_SAMPLE_RATE_HZ, MODEL_REGISTRY, ASRModel
from shared.errors import Stage
from shared.payloads import first_problem
from shared.settings import Settings
from shared.turn import TranscriptReady, TurnFailed, TurnRequest


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
        transcript = await unless_client_leaves(request.receive, self._transcript(asked, pcm))
        if "word" in asked.timestamp_granularities and transcript.words is None:
            raise self._no_word_times()
        timed = TimedTranscript(
            text=transcript.text,
            words=transcript.words,
            duration_s=pcm.duration_s,
            language=asked.language,
            granularities=asked.timestamp_granularities,
        )
        return FORMATS[asked.response_format](timed)

    async def _transcript(self, asked: TranscriptionRequest, pcm: Pcm) -> TranscriptReady:
        """The transcript, with its words if times are asked for; an empty one if nobody speaks."""
        transcript = TranscriptReady(text="", words=())
        request = TurnRequest.checked(
            audio=pcm,
            language=asked.language,
            transcribe_only=True,
            word_times=asked.response_format in TIMED_FORMATS and not asked.stream,
        )
        async with aclosing(self._backend.turns(request)) as turn:
            async for one in turn:
                if isinstance(one, TranscriptReady):
                    transcript = one
                elif isinstance(one, TurnFailed):
                    raise one.to_error()
        return transcript

    def _no_word_times(self) -> InvalidRequest:
        discover(Stage.ASR)
        able = [
            name
            for name, model in sorted(MODEL_REGISTRY[Stage.ASR].items())
            if cast(type[ASRModel], model.engine).has_word_times
        ]
        return InvalidRequest(
            f"{self._backend.model_names[Stage.ASR]} gives no times of words. Ask for segments. These ASR "
            f"models give them: {', '.join(able)}.",
            param="timestamp_granularities",
        )

    async def _as_events(self, asked: TranscriptionRequest, pcm: Pcm) -> AsyncGenerator[bytes, None]:
        """All of the text is one delta: the stage transcribes an utterance as a whole."""
        text = (await self._transcript(asked, pcm)).text
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
    if "word" in asked.timestamp_granularities and (asked.stream or asked.response_format != "verbose_json"):
        raise InvalidRequest(
            "Times of words come in response_format verbose_json, not streamed.",
            param="timestamp_granularities",
        )
    return asked
