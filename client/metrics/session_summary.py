"""The sums of one or more sessions."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from client.metrics.percentile import percentile
from client.metrics.session_line import SessionEnded, SessionLine
from client.metrics.traffic import Traffic
from client.metrics.turn_record import TurnRecord, VoiceToVoice
from shared.errors import Stage

Included = Literal["completed", "heard"]
"""Which turns a metric is of: those that were completed, or all of which a sound was heard, interrupted
and failed ones too."""


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


@dataclass(frozen=True)
class SpeculationSums:
    """What speculative requests brought and cost."""

    kept: int
    hidden_us: int
    """How much sooner the replies to the kept ones were heard, in all."""
    dropped: int
    dropped_pipeline_us: int
    dropped_bytes: int
    """Sent in vain."""


@dataclass(frozen=True)
class Summary:
    """One or more sessions in figures.

    Averages add up: pipeline total and network overhead to end-to-end; the pause, the time to first audio,
    held and playback to voice-to-voice.
    """

    sessions: int
    sessions_without_end: int
    """Their duration is counted to the end of their last turn."""
    duration_us: int
    calls: int
    outcomes: dict[str, int]
    metrics: tuple[Metric, ...]
    """Those of which there is a turn."""
    interrupted_heard_us: int
    """How much of the interrupted replies was heard."""
    interrupted_reply_us: int
    """How much of them had arrived."""
    speculation: SpeculationSums
    traffic: Traffic
    """Of all requests, dropped speculations too."""
    underruns: int
    microphone_lost_us: int
    models: dict[str, tuple[str, ...]]
    """By stage, as a person calls them."""


def summarised(lines: Iterable[SessionLine]) -> Summary:
    """Sum the lines of sessions, all together."""
    lines = list(lines)
    records = [line for line in lines if isinstance(line, TurnRecord)]
    ends = [line for line in lines if isinstance(line, SessionEnded)]
    ended = {end.session_id: end.duration_us for end in ends}
    durations_us = {line.session_id: 0 for line in lines}
    for record in records:
        durations_us[record.session_id] = max(durations_us[record.session_id], record.ended_us)
    interrupted = [record for record in records if record.outcome == "interrupted"]
    return Summary(
        sessions=len(durations_us),
        sessions_without_end=len(durations_us.keys() - ended),
        duration_us=sum((durations_us | ended).values()),
        calls=len(records),
        outcomes=dict(Counter(record.outcome for record in records)),
        metrics=_metrics(records),
        interrupted_heard_us=sum(record.heard_us for record in interrupted),
        interrupted_reply_us=sum(record.reply_us for record in interrupted),
        speculation=_speculation(records),
        traffic=_traffic(records),
        underruns=sum(record.underruns for record in records),
        microphone_lost_us=sum(end.microphone_lost_us for end in ends),
        models=_models(records),
    )


def _busy_us(stage: Stage) -> Callable[[TurnRecord], int | None]:
    def of(record: TurnRecord) -> int | None:
        busy = record.ledger.busy if record.ledger else ()
        return next((one.busy_us for one in busy if one.stage is stage), None)

    return of


_COMPLETED: dict[str, Callable[[TurnRecord], int | None]] = {
    "ASR": _busy_us(Stage.ASR),
    "LLM": _busy_us(Stage.LLM),
    "TTS": _busy_us(Stage.TTS),
    "Pipeline total": lambda record: record.pipeline_us,
    "Network overhead": lambda record: record.network_us,
    "End-to-end": lambda record: record.end_to_end_us,
}


def _of_heard(span_us: Callable[[VoiceToVoice], int]) -> Callable[[TurnRecord], int | None]:
    return lambda record: span_us(record.voice_to_voice) if record.voice_to_voice else None


_HEARD = {
    "Pause": _of_heard(lambda spans: spans.pause_us),
    "Time to first audio": _of_heard(lambda spans: spans.first_audio_us),
    "Held": _of_heard(lambda spans: spans.held_us),
    "Playback": _of_heard(lambda spans: spans.playback_us),
    "Voice-to-voice": _of_heard(lambda spans: spans.total_us),
}


def _metrics(records: Sequence[TurnRecord]) -> tuple[Metric, ...]:
    completed = [record for record in records if record.outcome == "completed"]
    metrics = [
        *(_metric(name, "completed", map(of, completed)) for name, of in _COMPLETED.items()),
        *(_metric(name, "heard", map(of, records)) for name, of in _HEARD.items()),
    ]
    return tuple(metric for metric in metrics if metric)


def _metric(name: str, included: Included, durations: Iterable[int | None]) -> Metric | None:
    durations_us = [duration_us for duration_us in durations if duration_us is not None]
    if not durations_us:
        return None
    return Metric(
        name=name,
        included=included,
        turns=len(durations_us),
        average_us=sum(durations_us) / len(durations_us),
        min_us=min(durations_us),
        max_us=max(durations_us),
        p50_us=percentile(durations_us, 50),
        p95_us=percentile(durations_us, 95),
    )


def _speculation(records: Sequence[TurnRecord]) -> SpeculationSums:
    dropped = [one for record in records for one in record.dropped_speculations]
    return SpeculationSums(
        kept=sum(record.kept_speculation_us is not None for record in records),
        hidden_us=sum(record.hidden_us for record in records),
        dropped=len(dropped),
        dropped_pipeline_us=sum(one.pipeline_us for one in dropped),
        dropped_bytes=sum(one.traffic.sent_bytes for one in dropped),
    )


def _traffic(records: Sequence[TurnRecord]) -> Traffic:
    of_dropped = (one.traffic for record in records for one in record.dropped_speculations)
    return sum((*(record.traffic for record in records), *of_dropped), Traffic())


def _models(records: Sequence[TurnRecord]) -> dict[str, tuple[str, ...]]:
    """Each once, in the order in which they came."""
    by_stage = {
        stage: tuple(dict.fromkeys(name for record in records if (name := getattr(record.models, stage))))
        for stage in ("asr", "llm", "tts")
    }
    return {stage: names for stage, names in by_stage.items() if names}
