"""The sums of one or more conversations."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import median
from typing import Literal, get_args

import numpy as np

from client.metrics.metrics_file import ConversationEnded, MetricsLine
from conversation.turn_detection import EndedBy
from conversation.turn_record import TurnRecord
from shared.errors import Stage

Included = Literal["completed", "played"]
"""Which turns a metric includes: completed ones, or all that became audible, interrupted and failed too."""


@dataclass(frozen=True)
class Metric:
    """One duration over many turns, in microseconds."""

    name: str
    included: Included
    turns: int
    average_us: float
    min_us: int
    max_us: int
    p50_us: float
    p95_us: float


LONG_WAIT_US = 1_200_000
"""More than the fixed silence is by default: 1 s, and what the end of speech is estimated too early."""


@dataclass(frozen=True)
class EndsOfTurn:
    """Turns that ended in a silence that was set in one way, over all conversations."""

    ended_by: EndedBy
    count: int
    silence_p50_us: float
    spoke_on: int
    """How often the person then spoke on, so had not finished."""
    long: int
    """How often the silence was longer than LONG_WAIT_US."""


@dataclass(frozen=True)
class Summary:
    """One or more conversations in figures.

    Averages add up: pipeline total and network overhead to end-to-end; pause, time to first audio, held and
    playback to voice-to-voice.
    """

    conversations: int
    conversations_without_end: int
    """Their duration is counted to the end of their last turn."""
    duration_us: int
    turns: int
    outcomes: dict[str, int]
    metrics: tuple[Metric, ...]
    """Those that a turn has."""
    interrupted_played_us: int
    """How much of the interrupted replies was played."""
    interrupted_reply_us: int
    """How much of them had arrived."""
    speculations_kept: int
    hidden_us: int
    """How much earlier the replies to the kept ones were played, in all."""
    ends_of_turn: tuple[EndsOfTurn, ...]
    requests_dropped: int
    """Requests that were cancelled since the person spoke on."""
    dropped_pipeline_us: int
    """How long the pipeline had worked on them."""
    underruns: int
    microphone_lost_us: int
    models: dict[str, tuple[str, ...]]
    """By stage."""


def summarized(lines: Iterable[MetricsLine]) -> Summary:
    """Sum the lines of conversations, all together."""
    lines = list(lines)
    records = [line for line in lines if isinstance(line, TurnRecord)]
    ends = [line for line in lines if isinstance(line, ConversationEnded)]
    ended = {end.session_id: end.duration_us for end in ends}
    durations_us = {line.session_id: 0 for line in lines}
    for record in records:
        durations_us[record.session_id] = max(durations_us[record.session_id], record.ended_us)
    interrupted = [record for record in records if record.outcome == "interrupted"]
    dropped_us = [us for record in records for us in record.dropped_requests_us]
    return Summary(
        conversations=len(durations_us),
        conversations_without_end=len(durations_us.keys() - ended),
        duration_us=sum((durations_us | ended).values()),
        turns=len(records),
        outcomes=dict(Counter(record.outcome for record in records)),
        metrics=_metrics(records),
        interrupted_played_us=sum(record.played_us for record in interrupted),
        interrupted_reply_us=sum(record.reply_us for record in interrupted),
        speculations_kept=sum(record.kept_speculation_us is not None for record in records),
        hidden_us=sum(record.hidden_us for record in records),
        ends_of_turn=_ends_of_turn(records),
        requests_dropped=len(dropped_us),
        dropped_pipeline_us=sum(dropped_us),
        underruns=sum(record.underruns for record in records),
        microphone_lost_us=sum(end.microphone_lost_us for end in ends),
        models=_models(records),
    )


def _ends_of_turn(records: Sequence[TurnRecord]) -> tuple[EndsOfTurn, ...]:
    ends = [end for record in records for end in record.ends]
    by_kind = {kind: [end for end in ends if end.ended_by == kind] for kind in get_args(EndedBy)}
    return tuple(
        EndsOfTurn(
            ended_by=kind,
            count=len(of_kind),
            silence_p50_us=median(end.silence_us for end in of_kind),
            spoke_on=sum(end.spoke_on for end in of_kind),
            long=sum(end.silence_us > LONG_WAIT_US for end in of_kind),
        )
        for kind, of_kind in by_kind.items()
        if of_kind
    )


_COMPLETED = {
    "Pipeline total": "pipeline_us",
    "Network overhead": "network_us",
    "End-to-end": "end_to_end_us",
}
_PLAYED = {
    "Pause": "pause_us",
    "Time to first audio": "first_audio_us",
    "Held": "held_us",
    "Playback": "playback_us",
    "Voice-to-voice": "total_us",
}


def _metrics(records: Sequence[TurnRecord]) -> tuple[Metric, ...]:
    completed = [record for record in records if record.outcome == "completed"]
    busy = [one for record in completed if record.ledger for one in record.ledger.busy]
    played = [record.voice_to_voice for record in records if record.voice_to_voice]
    metrics = [
        *(
            _metric(stage.upper(), "completed", [one.busy_us for one in busy if one.stage is stage])
            for stage in (Stage.ASR, Stage.LLM, Stage.TTS)
        ),
        *(_metric(name, "completed", map(attrgetter(of), completed)) for name, of in _COMPLETED.items()),
        *(_metric(name, "played", map(attrgetter(of), played)) for name, of in _PLAYED.items()),
    ]
    return tuple(metric for metric in metrics if metric)


def _metric(name: str, included: Included, durations: Iterable[int | None]) -> Metric | None:
    us = [duration_us for duration_us in durations if duration_us is not None]
    if not us:
        return None
    p50_us, p95_us = np.percentile(us, (50, 95))
    return Metric(name, included, len(us), sum(us) / len(us), min(us), max(us), float(p50_us), float(p95_us))


def _models(records: Sequence[TurnRecord]) -> dict[str, tuple[str, ...]]:
    """Each once, in the order in which they came."""
    by_stage = {
        stage: tuple(dict.fromkeys(name for record in records if (name := getattr(record.models, stage))))
        for stage in ("asr", "llm", "tts")
    }
    return {stage: names for stage, names in by_stage.items() if names}
