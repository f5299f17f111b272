"""The log line of a turn: ids, models, durations, sizes, outcome."""

import logging
from dataclasses import dataclass, field

from shared.errors import Stage
from shared.ledger import Ledger
from shared.logs import log_fields
from shared.payloads import Mp3Audio, Speech
from shared.turn import Failure, Models, TurnRequest

logger = logging.getLogger("speech_to_speech.turn")

TURN = "turn"
"""The message of the line, by which `s2s status` finds it."""


@dataclass
class TurnLog:
    """Collects the fields of a turn's log line while the turn runs."""

    request: TurnRequest
    models: Models = field(default_factory=Models)
    outcome: str = "cancelled"
    failure: Failure | None = None
    cold: list[Stage] = field(default_factory=list)
    transcript: str = ""
    reply: str = ""
    chunks: int = 0
    tool_calls: int = 0
    speech_s: float = 0.0

    def write(self, ledger: Ledger, *, texts: bool) -> None:
        """Write the line; with `texts` also the transcript and the reply, which are private."""
        fields: dict[str, object] = {**self.fields(ledger)}
        if self.failure:
            fields |= {
                "error": self.failure.kind,
                "error_stage": str(self.failure.stage),
                "error_message": self.failure.message,
            }
        if texts:
            fields |= {"transcript": self.transcript, "reply": self.reply}
        log_fields(logger, TURN, fields)

    def fields(self, ledger: Ledger) -> dict[str, str | float | None]:
        """What the line says of the turn, but for its failure and its texts."""
        audio, first_us = self.request.audio, ledger.time_to_first_audio_us
        transcribed = self.request.transcribe_only and self.outcome == "completed"
        fields: dict[str, str | float | None] = {
            "outcome": "transcribed" if transcribed else self.outcome,
            "turn_id": self.request.turn_id,
            "session_id": self.request.session_id,
            **self.models.model_dump(),
            "total_ms": round(ledger.total_us / 1000, 1),
            "first_audio_ms": None if first_us is None else round(first_us / 1000, 1),
            **{f"{busy.stage}_busy_ms": round(busy.busy_us / 1000, 1) for busy in ledger.busy},
            "audio_s": round(audio.duration_s, 2) if audio else 0,
            "audio_bytes": _size(audio),
            "transcript_characters": len(self.transcript),
            "reply_characters": len(self.reply),
            "chunks": self.chunks,
            "tool_calls": self.tool_calls,
            "speculative": self.request.speculative,
            "speech_s": round(self.speech_s, 2),
        }
        if self.cold:
            fields["cold"] = ",".join(self.cold)
        return fields


def _size(audio: Speech | None) -> int:
    if audio is None:
        return 0
    return len(audio.mp3) if isinstance(audio, Mp3Audio) else audio.samples.nbytes
