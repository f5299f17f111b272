"""A TurnResult, built from the events of a turn."""

from shared.audio.decode import to_pcm
from shared.audio.pcm import Pcm, join
from shared.payloads import ToolCall
from shared.turn import (
    Failure,
    NoSpeechDetected,
    Outcome,
    ReplyDelta,
    SpeechChunk,
    ToolCallRequested,
    TranscriptReady,
    TurnEnd,
    TurnEvent,
    TurnFailed,
    TurnResult,
)


class TurnResultBuilder:
    """Takes the events of one turn, in order."""

    def __init__(self) -> None:
        self._transcript = ""
        self._reply: list[str] = []
        self._speech: list[Pcm] = []
        self._tool_calls: list[ToolCall] = []

    def add(self, event: TurnEvent) -> TurnResult | None:
        """Take an event; the last one completes the result."""
        match event:
            case TranscriptReady(text=text):
                self._transcript = text
            case ReplyDelta(text=text):
                self._reply.append(text)
            case ToolCallRequested(call=call):
                self._tool_calls.append(call)
            case SpeechChunk(audio=audio):
                self._speech.append(to_pcm(audio))
            case TurnEnd():
                return self._result(event)
        return None

    def _result(self, end: TurnEnd) -> TurnResult:
        outcome: Outcome = "no_speech" if isinstance(end, NoSpeechDetected) else "completed"
        failure = None
        if isinstance(end, TurnFailed):
            outcome, failure = "failed", Failure.of(end)
        return TurnResult(
            outcome=outcome,
            transcript=self._transcript,
            reply="".join(self._reply),
            tool_calls=tuple(self._tool_calls),
            audio=join(self._speech) if self._speech else None,
            ledger=end.ledger,
            models=end.models,
            failure=failure,
        )
