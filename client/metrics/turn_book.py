"""Writes the record of one turn while it goes on."""

from collections.abc import Callable
from dataclasses import dataclass, field

from client.metrics.traffic import Traffic
from client.metrics.turn_record import DroppedSpeculation, TurnOutcome, TurnRecord, VoiceToVoice
from shared.errors import SpeechError
from shared.payloads import Speech
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
    """What came of a request so far."""

    turn_id: str
    sent_us: int
    traffic: Traffic
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
class TurnBook:
    """Is told what happens in one turn, when it happens, and makes its record of that.

    Moments are seconds by the clock `now`, which never goes back (an event loop's `time`).
    """

    now: Callable[[], float]
    session_id: str
    session_began_s: float
    speech_began_s: float
    _speech_ended_us: int | None = None
    _certain_us: int | None = None
    _first_sound_us: int | None = None
    _request: _Request | None = None
    _kept_speculation_us: int | None = None
    _dropped: list[DroppedSpeculation] = field(default_factory=list)

    def speech_ended(self, at_s: float) -> None:
        """The person fell silent then, as voice activity detection puts it. The last call counts: who
        speaks on falls silent again later."""
        self._speech_ended_us = _us(at_s)

    def request_sent(self, request: TurnRequest) -> None:
        """The utterance goes out now; before `turn_certain`, that is a speculation. A request that is out is
        given up for it."""
        self.speculation_dropped()
        sent = Traffic.sent(request.audio) if request.audio else Traffic()
        self._request = _Request(request.turn_id, _us(self.now()), sent)

    def told(self, event: TurnEvent) -> None:
        """The pipeline tells this of the request, now."""
        assert self._request, "a request was sent"
        match event:
            case SpeechChunk(audio=audio):
                self._speech_arrived(self._request, audio)
            case TurnEnd():
                self._request.end, self._request.ended_us = event, _us(self.now())
                if isinstance(event, TurnFailed):
                    self._request.failure = Failure.model_validate(event.model_dump())

    def failed(self, error: SpeechError) -> None:
        """The request came to nothing, without a last event, now."""
        assert self._request, "a request was sent"
        self._request.failure, self._request.ended_us = Failure.of(error), _us(self.now())

    def speculation_dropped(self) -> None:
        """The request is cancelled now: the person speaks on."""
        if self._request:
            pipeline_us = self._request.worked_us(_us(self.now()))
            self._dropped.append(DroppedSpeculation(pipeline_us=pipeline_us, traffic=self._request.traffic))
            self._request = self._kept_speculation_us = None

    def turn_certain(self) -> None:
        """It is certain now that the person has finished. A request that is out is kept."""
        self._certain_us = _us(self.now())
        if self._request:
            self._kept_speculation_us = self._request.worked_us(self._certain_us)

    def first_sound(self, at_s: float | None = None) -> None:
        """The first sound of the reply is heard, now or at `at_s`; later calls do not count."""
        if self._first_sound_us is None:
            self._first_sound_us = _us(self.now() if at_s is None else at_s)

    def record(self, *, interrupted: bool = False, heard_s: float = 0.0, underruns: int = 0) -> TurnRecord:
        """The turn's record, when its reply has been heard out, is interrupted, or will not come.

        Args:
            interrupted: the person spoke into the reply or ended the session. A turn of which neither a
                last event nor an error came counts as interrupted too.
            heard_s: seconds of the reply's speech that were played.
            underruns: how often playback ran out of speech in the middle of the reply.
        """
        request = self._request or _Request("", _us(self.now()), Traffic())
        began_us = self._in_session(_us(self.speech_began_s))
        return TurnRecord(
            session_id=self.session_id,
            turn_id=request.turn_id,
            began_us=began_us,
            ended_us=max(began_us, self._in_session(_us(self.now()))),
            outcome=_outcome(request, interrupted=interrupted),
            failure=request.failure,
            voice_to_voice=self._voice_to_voice(request),
            end_to_end_us=request.worked_us(_us(self.now())) if request.end else None,
            ledger=request.end.ledger if request.end else None,
            models=request.end.models if request.end else Models(),
            reply_us=request.reply_us,
            heard_us=min(max(0, _us(heard_s)), request.reply_us),
            underruns=underruns,
            traffic=request.traffic,
            kept_speculation_us=self._kept_speculation_us,
            dropped_speculations=tuple(self._dropped),
        )

    def _speech_arrived(self, request: _Request, audio: Speech) -> None:
        if request.first_speech_us is None:
            request.first_speech_us = _us(self.now())
        request.traffic += Traffic.received(audio)
        request.reply_us += audio.num_samples * 1_000_000 // audio.sample_rate_hz

    def _voice_to_voice(self, request: _Request) -> VoiceToVoice | None:
        """The moments in their order. The end of speech is an estimate, so it gives way to the request;
        each later moment is at least the one before."""
        if self._first_sound_us is None or request.first_speech_us is None:
            return None
        ended_us = request.sent_us if self._speech_ended_us is None else self._speech_ended_us
        ended_us = min(ended_us, request.sent_us)
        released_us = max(request.first_speech_us, self._certain_us or 0)
        sounded_us = max(released_us, self._first_sound_us)
        return VoiceToVoice(
            pause_us=request.sent_us - ended_us,
            first_audio_us=request.first_speech_us - request.sent_us,
            held_us=released_us - request.first_speech_us,
            playback_us=sounded_us - released_us,
            total_us=sounded_us - ended_us,
        )

    def _in_session(self, moment_us: int) -> int:
        return max(0, moment_us - _us(self.session_began_s))


def _outcome(request: _Request, *, interrupted: bool) -> TurnOutcome:
    if request.failure:
        return "failed"
    if isinstance(request.end, NoSpeechDetected):
        return "no_speech"
    return "interrupted" if interrupted or not request.end else "completed"


def _us(moment_s: float) -> int:
    return round(moment_s * 1e6)
