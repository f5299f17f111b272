"""The three stages as the pipeline sees them.

Each call is an async stream: StageStarted, then outputs, then StageFinished (`shared.stage_stream`).
Closing the stream, or cancelling the task that reads it, stops the work where it happens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.payloads import ChatMessage, Speech
from shared.stage_stream import StageStream


class ASRStage(Protocol):
    """Speech to text."""

    def transcribe(self, audio: Speech) -> StageStream:
        """Yields one Transcript, of empty text if nobody speaks."""


class LLMStage(Protocol):
    """Conversation to reply."""

    def generate(
        self, messages: Sequence[ChatMessage], *, max_tokens: int, temperature: float
    ) -> StageStream:
        """Yields TextDeltas."""


class TTSStage(Protocol):
    """Text to speech."""

    def synthesize(self, text: str) -> StageStream:
        """Yields SpeechPieces."""


@dataclass(frozen=True)
class Stages:
    """The three stages of a turn."""

    asr: ASRStage
    llm: LLMStage
    tts: TTSStage
