"""A turn: its request, its events and its result."""

from typing import Annotated, Literal, Self
from uuid import uuid4

from pydantic import Field, model_validator

from shared.errors import ERRORS_BY_KIND, SpeechError, Stage
from shared.ledger import Ledger
from shared.payloads import (
    MAX_MESSAGES,
    MAX_TEXT_CHARACTERS,
    MAX_TOOLS,
    ChatMessage,
    Payload,
    Speech,
    Tool,
    ToolCall,
    Words,
)

DEFAULT_SYSTEM_PROMPT = (
    "You are a friendly voice assistant. Your reply is spoken aloud, so answer in one to three short "
    "sentences of plain spoken English, without markdown, lists, emoji, code or links."
)

LanguageTag = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,5}$")]
Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.:-]+$")]


class TurnRequest(Payload):
    """One utterance to be answered, or without `audio` the end of the conversation: a typed question, or the
    results of tools.

    The conversation so far travels with it, oldest message first, since the orchestrator keeps no
    state. `max_tokens` above the deployment's own bound is lowered to it. `voice` and `language` (a tag of
    BCP 47) are the engines' own choice where None; an engine that lacks them refuses.
    """

    audio: Speech | None = None
    conversation: tuple[ChatMessage, ...] = Field(default=(), max_length=MAX_MESSAGES)
    system_prompt: str = Field(default=DEFAULT_SYSTEM_PROMPT, max_length=10_000, repr=False)
    max_tokens: int = Field(default=200, ge=1, le=100_000)
    temperature: float = Field(default=0.7, ge=0.0, le=2.0)
    tools: tuple[Tool, ...] = Field(default=(), max_length=MAX_TOOLS)
    voice: str | None = Field(default=None, min_length=1, max_length=100)
    language: LanguageTag | None = None
    audio_language: LanguageTag | None = None
    """Of `audio`, where it says nothing about the reply; else `language` is that of both."""
    spoken: bool = True
    """Whether the reply is synthesized; else it is text alone."""
    speculative: bool = False
    """Sent before it is certain that the speaker has finished, so that it may be cancelled."""
    second_chunk_after_s: float = Field(default=0.0, ge=0.0, le=60.0)
    """Until this long after the request's arrival only the reply's first chunk is synthesized, so that a
    speculative turn that is cancelled by then has not cost much."""
    transcribe_only: bool = False
    """Only transcribe: the turn completes behind TranscriptReady, without a reply."""
    word_times: bool = False
    """Whether the transcript comes with its words' times, if the ASR engine has them; they may cost time."""
    session_id: Identifier = Field(default_factory=lambda: uuid4().hex)
    turn_id: Identifier = Field(default_factory=lambda: uuid4().hex)
    traceparent: str | None = Field(default=None, pattern=r"^[0-9a-f]{2}(-[0-9a-f]+){3}$", max_length=100)
    """The span that the turn belongs to, where somebody traces it (W3C Trace Context)."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        last = self.conversation[-1].role if self.conversation else None
        if self.audio is None and (self.transcribe_only or last not in ("user", "tool")):
            raise ValueError("without audio, the conversation ends with a message of the user or of a tool")
        return self


class Models(Payload):
    """The models that took part, by the names that people use; "" where the turn did not get that far."""

    asr: str = ""
    llm: str = ""
    tts: str = ""


class TurnEventBase(Payload):
    """Base of a turn's events.

    `attempt_id`: the run of the turn that emits it. A platform may interrupt a turn and run it again
    elsewhere; events of different runs must never be mixed.
    """

    attempt_id: str = Field(default="", max_length=100)


class TurnStarted(TurnEventBase):
    """The turn has started; `call_id` cancels it where the platform needs one."""

    event: Literal["turn_started"] = "turn_started"
    call_id: str = ""


class StageWaiting(TurnEventBase):
    """A stage has not started yet: a cold start or a queue, not a failure."""

    event: Literal["stage_waiting"] = "stage_waiting"
    stage: Stage


class TranscriptReady(TurnEventBase):
    """The transcript of the utterance. `words` is None if not asked for, or the engine has no times."""

    event: Literal["transcript_ready"] = "transcript_ready"
    text: str = Field(max_length=MAX_TEXT_CHARACTERS, repr=False)
    words: Words | None = Field(default=None, repr=False)


class ReplyDelta(TurnEventBase):
    """The next part of the reply's text, as the LLM wrote it. None comes before the reply is being
    spoken, so that a reply that has to be retried is not seen twice."""

    event: Literal["reply_delta"] = "reply_delta"
    text: str = Field(max_length=MAX_TEXT_CHARACTERS, repr=False)


class ToolCallRequested(TurnEventBase):
    """The LLM asks for a tool to be run. The caller runs it, and sends the conversation with this call (in a
    message of the assistant) and its result (in a message of the tool) in a next turn without audio."""

    event: Literal["tool_call_requested"] = "tool_call_requested"
    call: ToolCall


class SpeechChunk(TurnEventBase):
    """The next part of the reply's speech: audio segment `segment` of chunk `index`, both counted from 0.

    `text` is that of the whole chunk.
    """

    event: Literal["speech_chunk"] = "speech_chunk"
    index: int = Field(ge=0)
    segment: int = Field(ge=0)
    text: str = Field(max_length=MAX_TEXT_CHARACTERS, repr=False)
    audio: Speech


class TurnEnd(TurnEventBase):
    """Base of the last event of a turn; exactly one comes."""

    ledger: Ledger
    models: Models


class TurnCompleted(TurnEnd):
    """All of the reply has been synthesized; one of tool calls alone has nothing to synthesize."""

    event: Literal["turn_completed"] = "turn_completed"
    at_limit: bool = False
    """Whether the reply ended since it was as long as it may be, as far as the LLM's server says so."""


class NoSpeechDetected(TurnEnd):
    """Nobody spoke: there is nothing to answer."""

    event: Literal["no_speech"] = "no_speech"


class Failure(Payload):
    """An error as it travels: its kind, where it happened, whether the same request may succeed later."""

    kind: str
    stage: Stage
    retryable: bool
    message: str

    @classmethod
    def of(cls, error: "SpeechError | Failure") -> "Failure":
        """The failure that an error, or a TurnFailed, stands for."""
        return cls(kind=error.kind, stage=error.stage, retryable=error.retryable, message=error.message)

    def to_error(self) -> SpeechError:
        """The error again. One of a kind that only a newer sender knows keeps its kind, and whether it is
        retryable."""
        error = ERRORS_BY_KIND.get(self.kind, SpeechError)(self.message, self.stage)
        error.kind, error.retryable = self.kind, self.retryable
        return error


class TurnFailed(TurnEnd, Failure):
    """The turn ended early. The events before this one stand."""

    event: Literal["turn_failed"] = "turn_failed"


TurnEvent = Annotated[
    TurnStarted
    | StageWaiting
    | TranscriptReady
    | ReplyDelta
    | ToolCallRequested
    | SpeechChunk
    | TurnCompleted
    | NoSpeechDetected
    | TurnFailed,
    Field(discriminator="event"),
]
"""A turn's events, in order: TurnStarted, StageWaiting where a stage is slow to start, TranscriptReady,
ReplyDelta, ToolCallRequested and SpeechChunk interleaved, and one TurnEnd."""


Outcome = Literal["completed", "no_speech", "failed"]


class TurnResult(Payload):
    """The result of a turn. A failed one holds what was finished, and the failure."""

    outcome: Outcome
    transcript: str = Field(default="", repr=False)
    reply: str = Field(default="", repr=False)
    tool_calls: tuple[ToolCall, ...] = ()
    audio: Speech | None = None
    ledger: Ledger
    models: Models
    failure: Failure | None = None
