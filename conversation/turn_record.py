"""One turn as its listener experienced it, in integer microseconds of one process's monotonic clock."""

from typing import Literal, Self

from pydantic import Field, model_validator

from conversation.turn_detection import EndedBy
from shared.ledger import Ledger, Microseconds
from shared.payloads import Payload
from shared.turn import Failure, Identifier, Models

TurnOutcome = Literal["completed", "interrupted", "failed", "no_speech"]
"""`interrupted`: the person spoke again, or ended the conversation, before all of the reply was played."""


SPOKE_ON_WITHIN_S = 2.0
"""Who speaks again this soon had not finished: turn detection waits no longer by default."""


class VoiceToVoice(Payload):
    """From the end of speech to the first audio of the reply: contiguous spans that sum to `total_us`.

    A speculative request is sent before the turn is certain. Then `pause_us` is shorter than the end-of-turn
    silence, and `held_us` is what the pipeline left of it.
    """

    pause_us: Microseconds
    """From the end of speech, as voice activity detection estimates it, to the request."""
    first_audio_us: Microseconds
    """From the request to the arrival of the first speech: the pipeline's part and the network's."""
    held_us: Microseconds
    """From there until it was certain that the person had finished; 0 without speculation."""
    playback_us: Microseconds
    """From there to the first audio that was played."""
    total_us: Microseconds

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        spans_us = self.pause_us + self.first_audio_us + self.held_us + self.playback_us
        if spans_us != self.total_us:
            raise ValueError(f"spans sum to {spans_us} µs, not to {self.total_us} µs")
        return self


class EndOfTurn(Payload):
    """A silence in which the turn was taken to be over."""

    ended_by: EndedBy
    silence_us: Microseconds
    """From the end of speech to the end of the turn."""
    spoke_on: bool = False
    """Whether the person spoke again within SPOKE_ON_WITHIN_S of the end of speech, so had not finished."""


class TurnRecord(Payload):
    """One turn as its listener experienced it. Figures that contradict each other are refused."""

    record: Literal["turn"] = "turn"
    session_id: Identifier
    turn_id: str = Field(default="", max_length=64)
    """Of the request whose reply was played; "" if none was sent."""
    began_us: Microseconds
    """When the person began to speak, since the conversation began."""
    ended_us: Microseconds
    """When the reply was played to completion, or interrupted, since the conversation began."""
    outcome: TurnOutcome
    failure: Failure | None = None
    voice_to_voice: VoiceToVoice | None = None
    """None if nothing of the reply was played."""
    end_to_end_us: Microseconds | None = None
    """From the request to the pipeline's last event; None if that did not come."""
    ledger: Ledger | None = None
    """The pipeline's own account; it comes with the last event."""
    models: Models = Models()
    reply_us: Microseconds = 0
    """Length of the speech that arrived."""
    played_us: Microseconds = 0
    """How much of it was played."""
    underruns: int = Field(default=0, ge=0, le=10**15)
    """How often playback ran out of speech in the middle of the reply."""
    kept_speculation_us: Microseconds | None = None
    """How long the pipeline had worked on that request when the turn became certain; None if sent later."""
    ends: tuple[EndOfTurn, ...] = ()
    """More than one where the person spoke on before the reply was audible. An utterance that ended since it
    was as long as it may be has none."""
    dropped_requests_us: tuple[Microseconds, ...] = ()
    """Requests that were cancelled since the person spoke on: how long the pipeline had worked on each."""

    @property
    def pipeline_us(self) -> int | None:
        """The ledger's total, but not more than the client waited."""
        if self.ledger is None or self.end_to_end_us is None:
            return None
        return min(self.ledger.total_us, self.end_to_end_us)

    @property
    def network_us(self) -> int | None:
        """The part of `end_to_end_us` that is not the pipeline's: the way there and back, the orchestrator's
        own cold start, a first attempt that was lost."""
        if self.pipeline_us is None or self.end_to_end_us is None:
            return None
        return self.end_to_end_us - self.pipeline_us

    @property
    def hidden_us(self) -> int:
        """How much earlier than without speculation the reply was played."""
        if self.kept_speculation_us is None or self.voice_to_voice is None:
            return 0
        return min(self.kept_speculation_us, self.voice_to_voice.first_audio_us)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.ended_us < self.began_us:
            raise ValueError("the turn ends before it begins")
        if (self.outcome == "failed") != (self.failure is not None):
            raise ValueError("a failed turn has a failure, and no other has")
        if (self.ledger is None) != (self.end_to_end_us is None):
            raise ValueError("the ledger comes with the last event")
        if self.outcome == "completed" and self.ledger is None:
            raise ValueError("a completed turn has a ledger")
        spans, end_to_end_us = self.voice_to_voice, self.end_to_end_us
        if spans and end_to_end_us is not None and spans.first_audio_us > end_to_end_us:
            raise ValueError("the first speech came after the last event")
        if self.played_us > self.reply_us:
            raise ValueError("more was played than arrived")
        return self
