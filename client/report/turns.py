"""The turns of metrics files, and what a listener waited for in each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from client.metrics.metrics_file import ConversationStarted, MetricsLine
from conversation.turn_record import TurnRecord
from shared.errors import Stage
from shared.ledger import Ledger, Span

WAITS = {
    "pause": "Pause",
    "asr": "ASR",
    "llm": "LLM",
    "tts": "TTS",
    "orchestrator": "Orchestrator",
    "network": "Network",
    "pipeline": "Pipeline",
    "held": "Held until certain",
    "playback": "Playback",
}
"""What a listener waits for, in order, by name. `network` is the way there and back; `pipeline` is the
pipeline's part of a turn whose ledger did not come."""

COLOURS = {
    "pause": "pause",
    "asr": "asr",
    "llm": "llm",
    "tts": "tts",
    "orchestrator": "orchestrator",
    "network": "network",
    "pipeline": "orchestrator",
    "held": "held",
    "playback": "playback",
}


@dataclass(frozen=True)
class NumberedTurn:
    """A turn, its place among all turns of the report, and when it began, where that is known."""

    number: int
    conversation: int
    at: datetime | None
    record: TurnRecord

    @property
    def voice_to_voice_us(self) -> int | None:
        """None if nothing was played."""
        spans = self.record.voice_to_voice
        return spans.total_us if spans else None


def clock(turn: NumberedTurn) -> str:
    """When the turn began, in this machine's time zone; - where that is not known."""
    return turn.at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if turn.at else "-"


def numbered_turns(lines: Iterable[MetricsLine]) -> Iterator[NumberedTurn]:
    """The turns, in the order of the lines; both numbers count from 1."""
    began: dict[str, datetime] = {}
    conversations: dict[str, int] = {}
    number = 0
    for line in lines:
        conversation = conversations.setdefault(line.session_id, len(conversations) + 1)
        if isinstance(line, ConversationStarted):
            began[line.session_id] = line.at
        elif isinstance(line, TurnRecord):
            number += 1
            start = began.get(line.session_id)
            at = start + timedelta(microseconds=line.began_us) if start else None
            yield NumberedTurn(number, conversation, at, line)


def waits_us(record: TurnRecord) -> dict[str, int]:
    """From the end of speech to the first audio that was played, by names of WAITS: microseconds, which sum
    to voice-to-voice. Empty if nothing was played."""
    spans = record.voice_to_voice
    if not spans:
        return {}
    return {
        "pause": spans.pause_us,
        **_pipeline_us(record.ledger, spans.first_audio_us),
        "held": spans.held_us,
        "playback": spans.playback_us,
    }


def spans_to_first_audio(ledger: Ledger) -> tuple[Span, ...]:
    """Those before the first audio; all of them if none came."""
    if ledger.time_to_first_audio_us is None:
        return ledger.spans
    spans, end_us = [], 0
    for span in ledger.spans:
        if end_us >= ledger.time_to_first_audio_us:
            break
        spans.append(span)
        end_us += span.duration_us
    return tuple(spans)


def _pipeline_us(ledger: Ledger | None, first_audio_us: int) -> dict[str, int]:
    if ledger is None or ledger.time_to_first_audio_us is None:
        return {"pipeline": first_audio_us}
    network_us = first_audio_us - ledger.time_to_first_audio_us
    if network_us < 0:  # the attempt that was heard is not the one whose ledger came
        return {"pipeline": first_audio_us}
    spans = spans_to_first_audio(ledger)
    by_stage = {
        str(stage): sum(span.duration_us for span in spans if span.stage is stage)
        for stage in (Stage.ASR, Stage.LLM, Stage.TTS, Stage.ORCHESTRATOR)
    }
    return by_stage | {"network": network_us}
