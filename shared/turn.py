"""A turn: what a client asks, what it is told while the turn goes on, and what came of it."""

from typing import Annotated, Literal
from uuid import uuid4

from pydantic import Field

from shared.errors import ERRORS_BY_KIND, SpeechError, Stage
from shared.ledger import Ledger
from shared.payloads import MAX_TEXT_CHARACTERS, ChatMessage, Payload, Speech

DEFAULT_SYSTEM_PROMPT = (
    "You are a friendly voice assistant. Your reply is spoken aloud, so answer in one to three short "
    "sentences of plain spoken English, without markdown, lists, emoji, code or links."
)

Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.:-]+$")]


def _new_id() -> str:
    return uuid4().hex


class TurnRequest(Payload):
    """One utterance to be answered.

    The conversation so far travels with it, oldest message first, since the orchestrator keeps no
    state. `max_tokens` above the deployment's own bound is lowered to it.
    """

    audio: Speech
    conversation: tuple[ChatMessage, ...] = Field(default=(), max_length=1000)
    system_prompt: str = Field(default=DEFAULT_SYSTEM_PROMPT, max_length=10_000, repr=False)
    max_tokens: int = Field(default=200, ge=1, le=100_000)
    temperature: float = Field(default=0.7, ge=0.0, le=2.0)
    second_chunk_after_s: float = Field(default=0.0, ge=0.0, le=60.0)
    """So long after the request's arrival only the first chunk of the reply is spoken. A client that sends an
    utterance on speculation, before it is certain that the speaker has finished, cancels the turn within
    this time or keeps it, and much speech is not made in vain."""
    session_id: Identifier = Field(default_factory=_new_id)
    turn_id: Identifier = Field(default_factory=_new_id)


class Models(Payload):
    """The models that took part, as a person calls them; "" where the turn did not get that far."""

    asr: str = ""
    llm: str = ""
    tts: str = ""


class ToldEvent(Payload):
    """Base of what a client is told.

    `attempt_id`: which run of the turn tells it, where the platform may take a turn away and begin it anew
    elsewhere: heads and tails of different runs must never be joined.
    """

    attempt_id: str = Field(default="", max_length=100)


class TurnStarted(ToldEvent):
    """The turn is under way; `call_id` cancels it where the platform needs one."""

    event: Literal["turn_started"] = "turn_started"
    call_id: str = ""


class StageWaiting(ToldEvent):
    """A stage has not started yet: a cold start or a queue, not a failure."""

    event: Literal["stage_waiting"] = "stage_waiting"
    stage: Stage


class TranscriptReady(ToldEvent):
    """What the speaker said."""

    event: Literal["transcript_ready"] = "transcript_ready"
    text: str = Field(max_length=MAX_TEXT_CHARACTERS, repr=False)


class ReplyDelta(ToldEvent):
    """The next bit of the reply's text, as the LLM wrote it. None comes before the reply is being
    spoken, so that a reply that has to be written anew is not seen twice."""

    event: Literal["reply_delta"] = "reply_delta"
    text: str = Field(max_length=MAX_TEXT_CHARACTERS, repr=False)


class SpeechChunk(ToldEvent):
    """The next bit of the reply's speech: piece `piece` of chunk `index`, both counted from 0.

    `text` is what the whole chunk says.
    """

    event: Literal["speech_chunk"] = "speech_chunk"
    index: int = Field(ge=0)
    piece: int = Field(ge=0)
    text: str = Field(max_length=MAX_TEXT_CHARACTERS, repr=False)
    audio: Speech


class TurnEnd(ToldEvent):
    """Base of the last event of a turn; exactly one comes."""

    ledger: Ledger
    models: Models


class TurnCompleted(TurnEnd):
    """All of the reply has been spoken."""

    event: Literal["turn_completed"] = "turn_completed"


class NoSpeechHeard(TurnEnd):
    """Nobody spoke, so there is nothing to answer."""

    event: Literal["no_speech"] = "no_speech"


class Failure(Payload):
    """An error as it travels: its kind, where it happened, whether the same request may succeed later."""

    kind: str
    stage: Stage
    retryable: bool
    message: str

    @classmethod
    def of(cls, error: SpeechError) -> "Failure":
        """What there is to tell of an error."""
        return cls(kind=error.kind, stage=error.stage, retryable=error.retryable, message=error.message)

    def to_error(self) -> SpeechError:
        """The error that this tells of."""
        return ERRORS_BY_KIND.get(self.kind, SpeechError)(self.message, self.stage)


class TurnFailed(TurnEnd, Failure):
    """The turn ended early. What came before this event stands."""

    event: Literal["turn_failed"] = "turn_failed"


TurnEvent = Annotated[
    TurnStarted
    | StageWaiting
    | TranscriptReady
    | ReplyDelta
    | SpeechChunk
    | TurnCompleted
    | NoSpeechHeard
    | TurnFailed,
    Field(discriminator="event"),
]
"""What a client is told, in order: TurnStarted, StageWaiting where a stage is slow to start,
TranscriptReady, ReplyDelta and SpeechChunk interleaved, and one TurnEnd."""


Outcome = Literal["completed", "no_speech", "failed"]


class TurnResult(Payload):
    """What came of a turn. A failed one holds what was finished, and the failure."""

    outcome: Outcome
    transcript: str = Field(default="", repr=False)
    reply: str = Field(default="", repr=False)
    audio: Speech | None = None
    ledger: Ledger
    models: Models
    failure: Failure | None = None
