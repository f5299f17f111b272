"""The three stages of a turn, as the pipeline calls them."""

from collections.abc import Sequence
from typing import Protocol

from shared.payloads import ChatMessage, Speech, Tool
from shared.stage_stream import StageStream


class Stages(Protocol):
    """Each call is an async stream: StageStarted, then outputs, then StageFinished (`shared.stage_stream`).
    Closing the stream, or cancelling the task that reads it, stops the work where it happens.

    A stage whose engine lacks what is asked for (a voice, a language, tools) raises BadRequest, before
    StageStarted.
    """

    def transcribe(self, audio: Speech, *, language: str | None = None) -> StageStream:
        """Yields one Transcript, of empty text if nobody speaks."""

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
