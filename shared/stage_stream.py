"""The three stages of a turn, and what their calls yield: StageStarted, then outputs, then StageFinished.

Every item carries the attempt it belongs to: a platform may interrupt a call and run it again elsewhere,
and the outputs of different attempts must never be joined. Times are durations by the stage's own clock:
clocks of different machines are never subtracted.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from pydantic import Field

from shared.payloads import (
    MAX_TEXT_CHARACTERS,
    ChatMessage,
    LLMDelta,
    Payload,
    Speech,
    TokenUsage,
    Tool,
    Words,
)


class StageItem(Payload):
    """Base of what a stage call yields."""

    attempt_id: str = Field(max_length=100)


class StageStarted(StageItem):
    """The stage has begun to work on its input.

    `call_id` cancels the call where the platform needs one; `model` is the name that people use;
    `cold`: its engine had to be loaded for it.
    """

    call_id: str = Field(default="", max_length=100)
    model: str = Field(default="", max_length=200)
    cold: bool = False


class StageOutput(StageItem):
    """Base of what follows; `elapsed_us` is the stage's own time since it started."""

    elapsed_us: int = Field(ge=0)


class Transcript(StageOutput):
    """The transcript; empty if nobody spoke. `words` is None if not asked for, or the engine has no times."""

    text: str = Field(max_length=MAX_TEXT_CHARACTERS, repr=False)
    words: Words | None = Field(default=None, repr=False)


class LLMOutput(StageOutput):
    """The next part of the reply: text, or a tool call."""

    delta: LLMDelta


class AudioSegment(StageOutput):
    """The next part of a chunk's speech."""

    audio: Speech


class StageFinished(StageOutput):
    """The call has ended well. `busy_us`: how long its engine worked; `tokens`: what an LLM's reply took,
    None if its engine does not count."""

    busy_us: int = Field(ge=0)
    tokens: TokenUsage | None = None


StageStream = AsyncGenerator[StageItem, None]


class Stages(Protocol):
    """The three stages of a turn, as the pipeline calls them.

    Closing a call's stream, or cancelling the task that reads it, stops the work where it happens. A stage
    whose engine lacks what is asked for (a voice, a language, tools) raises BadRequest, before StageStarted.
    """

    def transcribe(
        self, audio: Speech, *, language: str | None = None, word_times: bool = False
    ) -> StageStream:
        """Yields one Transcript, of empty text if nobody speaks; with `word_times` also with its words, if
        the engine has their times."""

    def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> StageStream:
        """Yields LLMOutputs."""

    def synthesize(self, text: str, *, voice: str | None = None, language: str | None = None) -> StageStream:
        """Yields AudioSegments."""
