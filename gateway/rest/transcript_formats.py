"""The forms in which a transcript is sent: JSON, plain text, subtitles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openai.types.audio import Transcription
from openai.types.audio.transcription import UsageDuration
from starlette.responses import JSONResponse, PlainTextResponse, Response

from gateway.rest.segments import Segment, segments
from shared.payloads import Word

UNDETERMINED = "und"
"""The language of a transcript whose request did not name one, by ISO 639-2: the stage does not say."""


@dataclass(frozen=True, kw_only=True)
class TimedTranscript:
    """A transcript, and what its request wants to know. Without `words` its one segment is the whole."""

    text: str
    words: Sequence[Word] | None
    duration_s: float
    language: str | None
    granularities: Sequence[str]

    @property
    def segments(self) -> list[Segment]:
        """Its parts, in order; none if nobody spoke."""
        if not self.text:
            return []
        return segments(self.words) if self.words else [Segment(self.text, 0.0, self.duration_s)]

    @property
    def usage(self) -> UsageDuration:
        """What it is charged by."""
        return UsageDuration(type="duration", seconds=_rounded(self.duration_s))


def _json(transcript: TimedTranscript) -> Response:
    content = Transcription(text=transcript.text, usage=transcript.usage)
    return JSONResponse(content.model_dump(exclude_none=True))


def _verbose_json(transcript: TimedTranscript) -> Response:
    content: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.language or UNDETERMINED,
        "duration": _rounded(transcript.duration_s),
        "text": transcript.text,
    }
    if "word" in transcript.granularities:
        content["words"] = [
            {"word": word.text.strip(), "start": _rounded(word.start_s), "end": _rounded(word.end_s)}
            for word in transcript.words or ()
        ]
    if "segment" in transcript.granularities or not transcript.granularities:
        content["segments"] = [
            {"id": index, "start": _rounded(one.start_s), "end": _rounded(one.end_s), "text": one.text}
            for index, one in enumerate(transcript.segments)
        ]
    return JSONResponse({**content, "usage": transcript.usage.model_dump()})


def _text(transcript: TimedTranscript) -> Response:
    return PlainTextResponse(f"{transcript.text}\n")


def _srt(transcript: TimedTranscript) -> Response:
    cues = [f"{number}\n{_cue(one, ',')}" for number, one in enumerate(transcript.segments, start=1)]
    return PlainTextResponse("".join(cues))


def _vtt(transcript: TimedTranscript) -> Response:
    cues = "".join(_cue(one, ".") for one in transcript.segments)
    return PlainTextResponse(f"WEBVTT\n\n{cues}", media_type="text/vtt")


FORMATS: dict[str, Callable[[TimedTranscript], Response]] = {
    "json": _json,
    "verbose_json": _verbose_json,
    "text": _text,
    "srt": _srt,
    "vtt": _vtt,
}
"""What makes the answer, by `response_format`."""

TIMED_FORMATS = ("verbose_json", "srt", "vtt")


def _rounded(duration_s: float) -> float:
    return round(duration_s, 3)


def _cue(segment: Segment, point: str) -> str:
    return f"{_time(segment.start_s, point)} --> {_time(segment.end_s, point)}\n{segment.text}\n\n"


def _time(moment_s: float, point: str) -> str:
    ms = round(moment_s * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
