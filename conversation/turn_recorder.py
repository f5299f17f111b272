"""Collects the timestamps of one turn and builds its TurnRecord."""

from collections.abc import Callable
from dataclasses import dataclass, field

from conversation.conversation_span import end_conversation_span, start_conversation_span
from conversation.turn_detection import EndedBy
from conversation.turn_record import SPOKE_ON_WITHIN_S, EndOfTurn, TurnOutcome, TurnRecord, VoiceToVoice
from shared.errors import SpeechError
from shared.telemetry import Span
from shared.turn import (
    Failure,
    Models,
    NoSpeechDetected,
    SpeechChunk,
    TurnEnd,
    TurnEvent,
    TurnFailed,
    TurnRequest,
)


@dataclass
class _Request:
    """A request and what came of it so far."""

    turn_id: str
    sent_us: int
    first_speech_us: int | None = None
    reply_us: int = 0
    end: TurnEnd | None = None
    failure: Failure | None = None
    ended_us: int | None = None

    def worked_us(self, until_us: int) -> int:
        """How long the pipeline worked on it up to that moment."""
        ended_us = until_us if self.ended_us is None else min(until_us, self.ended_us)
        return max(0, ended_us - self.sent_us)


@dataclass
class TurnRecorder:
    """Collects the timestamps of one turn, each when it happens, and builds its TurnRecord.

    Moments are seconds by the clock `now`, which never goes back (an event loop's `time`).
    """

    now: Callable[[], float]
    session_id: str
    conversation_began_s: float
    speech_began_s: float
    _speech_ended_us: int | None = None
    _certain_us: int | None = None
    _first_audio_us: int | None = None
    _request: _Request | None = None
    _kept_speculation_us: int | None = None
    _dropped_us: list[int] = field(default_factory=list)
    _ends: list[EndOfTurn] = field(default_factory=list)
    _span: Span | None = None

    @property
    def traceparent(self) -> str | None:
        """Of the turn's own span, for its requests; None where nothing is traced. It begins with the person's
        speech, and ends with the record."""
        if self._span is None:
            self._span = start_conversation_span(self.session_id, self.now() - self.speech_began_s)
        return self._span.traceparent

    def speech_ended(self, at_s: float) -> None:
        """The person fell silent then, as voice activity detection estimates it. The last call counts."""
        self._speech_ended_us = _us(at_s)

    def request_sent(self, request: TurnRequest) -> None:
        """A request is sent now; before `turn_certain` it is speculative. One before it is dropped."""
        self.request_dropped()
        self._request = _Request(request.turn_id, _us(self.now()))

    def observe(self, event: TurnEvent) -> None:
        """An event of the request arrives now."""
        assert self._request, "a request was sent"
        match event:
            case SpeechChunk(audio=audio):
                if self._request.first_speech_us is None:
                    self._request.first_speech_us = _us(self.now())
                self._request.reply_us += audio.num_samples * 1_000_000 // audio.sample_rate_hz
            case TurnEnd():
                self._request.end, self._request.ended_us = event, _us(self.now())
                if isinstance(event, TurnFailed):
                    self._request.failure = Failure.model_validate(event.model_dump())

    def failed(self, error: SpeechError) -> None:
        """The request fails now, without a last event."""
        assert self._request, "a request was sent"
        self._request.failure, self._request.ended_us = Failure.of(error), _us(self.now())

    def request_dropped(self) -> None:
        """The request, if any, is cancelled now, since the person speaks on."""
        if self._request:
            self._dropped_us.append(self._request.worked_us(_us(self.now())))
            self._request = self._kept_speculation_us = None

    def turn_certain(self, ended_by: EndedBy | None = None) -> None:
        """It is certain now that the person has finished. A request that was sent is kept.

        `ended_by`: what set the silence that ended the turn, if one did.
        """
        self._certain_us = _us(self.now())
        if ended_by and self._speech_ended_us is not None:
            silence_us = max(0, self._certain_us - self._speech_ended_us)
            self._ends.append(EndOfTurn(ended_by=ended_by, silence_us=silence_us))
        if self._request:
            self._kept_speculation_us = self._request.worked_us(self._certain_us)

    def spoke_again(self, at_s: float) -> None:
        """The person speaks again since then, after the end of the turn."""
        if self._ends and self._speech_ended_us is not None:
            spoke_on = _us(at_s) - self._speech_ended_us <= _us(SPOKE_ON_WITHIN_S)
            self._ends[-1] = self._ends[-1].model_copy(update={"spoke_on": spoke_on})

    def first_audio(self, at_s: float) -> None:
        """The reply became audible then."""
        self._first_audio_us = _us(at_s)

    def record(self, *, interrupted: bool = False, played_s: float = 0.0, underruns: int = 0) -> TurnRecord:
        """The turn's record, when its reply is played to completion, is interrupted, or will not come.

        Args:
            interrupted: the person spoke into the reply or ended the conversation. A turn that got neither a
                last event nor an error counts as interrupted too.
            played_s: seconds of the reply's speech that were played.
            underruns: how often playback ran out of speech in the middle of the reply.
        """
        request = self._request or _Request("", _us(self.now()))
        began_us = self._in_conversation(_us(self.speech_began_s))
        record = TurnRecord(
            session_id=self.session_id,
            turn_id=request.turn_id,
            began_us=began_us,
            ended_us=max(began_us, self._in_conversation(_us(self.now()))),
            outcome=_outcome(request, interrupted=interrupted),
            failure=request.failure,
            voice_to_voice=self._voice_to_voice(request),
            end_to_end_us=request.worked_us(_us(self.now())) if request.end else None,
            ledger=request.end.ledger if request.end else None,
            models=request.end.models if request.end else Models(),
            reply_us=request.reply_us,
            played_us=min(max(0, _us(played_s)), request.reply_us),
            underruns=underruns,
            kept_speculation_us=self._kept_speculation_us,
            ends=tuple(self._ends),
            dropped_requests_us=tuple(self._dropped_us),
        )
        if self._span:
            end_conversation_span(self._span, record, request.sent_us - _us(self.speech_began_s))
        return record

    def _voice_to_voice(self, request: _Request) -> VoiceToVoice | None:
        """The moments in their order. The end of speech is an estimate, so it gives way to the request;
        each later moment is at least the one before."""
        if self._first_audio_us is None or request.first_speech_us is None:
            return None
        ended_us = request.sent_us if self._speech_ended_us is None else self._speech_ended_us
        ended_us = min(ended_us, request.sent_us)
        released_us = max(request.first_speech_us, self._certain_us or 0)
        audible_us = max(released_us, self._first_audio_us)
        return VoiceToVoice(
            pause_us=request.sent_us - ended_us,
            first_audio_us=request.first_speech_us - request.sent_us,
            held_us=released_us - request.first_speech_us,
            playback_us=audible_us - released_us,
            total_us=audible_us - ended_us,
        )

    def _in_conversation(self, moment_us: int) -> int:
        return max(0, moment_us - _us(self.conversation_began_s))


def _outcome(request: _Request, *, interrupted: bool) -> TurnOutcome:
    if request.failure:
        return "failed"
    if isinstance(request.end, NoSpeechDetected):
        return "no_speech"
    return "interrupted" if interrupted or not request.end else "completed"


def _us(moment_s: float) -> int:
    return round(moment_s * 1e6)
