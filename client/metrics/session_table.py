"""The summary of a session as a table, and what there is to say about it."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from client.display.terminal import plain_table
from client.metrics.session_summary import Metric, Summary
from shared.errors import Stage

_OUTCOMES = {
    "completed": "completed",
    "interrupted": "interrupted",
    "failed": "failed",
    "no_speech": "without speech",
}
_SUMS = {"End-to-end", "Voice-to-voice"}


def session_table(summary: Summary) -> RenderableType:
    """The summary for a person, in 80 columns."""
    parts: list[RenderableType] = [Text(_headline(summary), "bold")]
    if summary.metrics:
        parts.append(_table(summary.metrics))
    parts += [Text(line) for line in _remarks(summary)]
    return Group(*parts)


def _headline(summary: Summary) -> str:
    sessions = "Session" if summary.sessions == 1 else f"{summary.sessions:,} sessions, together"
    at_least = "at least " if summary.sessions_without_end else ""
    length = f"{sessions} of {at_least}{_length(summary.duration_us)}"
    if not summary.sessions:
        return "No session."
    if not summary.calls:
        return f"{length}, no calls: nobody spoke."
    calls = f"{summary.calls:,} call{'s' if summary.calls > 1 else ''}"
    outcomes = (
        f"{summary.outcomes[key]:,} {told}" for key, told in _OUTCOMES.items() if key in summary.outcomes
    )
    return f"{length}, {calls}: {', '.join(outcomes)}."


def _table(metrics: tuple[Metric, ...]) -> Table:
    table = plain_table()
    table.add_column("milliseconds", no_wrap=True)
    for heading in ("turns", "average", "min", "max", "p50", "p95"):
        table.add_column(heading, justify="right", no_wrap=True)
    for metric in metrics:
        table.add_row(
            metric.name,
            f"{metric.turns:,}",
            *(
                _ms(us)
                for us in (metric.average_us, metric.min_us, metric.max_us, metric.p50_us, metric.p95_us)
            ),
            style="bold" if metric.name in _SUMS else "",
            end_section=metric.name == "End-to-end",
        )
    return table


def _remarks(summary: Summary) -> Iterator[str]:
    included = {metric.included for metric in summary.metrics}
    if "completed" in included:
        yield (
            "ASR to end-to-end: of completed turns. Pipeline total and network overhead add up to "
            "end-to-end; ASR, LLM and TTS overlap."
        )
    if "heard" in included:
        yield (
            "Pause to voice-to-voice: of turns that were heard, interrupted ones too. Pause (end of speech "
            "to request), time to first audio, held (until the turn was certain) and playback (until the "
            "first sound) add up to voice-to-voice."
        )
    yield from _interruptions(summary)
    yield from _speculation(summary)
    yield from _traffic(summary)
    if summary.underruns:
        yield f"Underruns of playback: {summary.underruns:,}."
    if summary.microphone_lost_us:
        yield f"Not listened to, as this machine was too busy: {_seconds(summary.microphone_lost_us)}."
    if summary.models:
        models = (f"{Stage(stage).upper()} {', '.join(names)}" for stage, names in summary.models.items())
        yield f"Models: {'; '.join(models)}."


def _interruptions(summary: Summary) -> Iterator[str]:
    if count := summary.outcomes.get("interrupted"):
        heard, reply = _seconds(summary.interrupted_heard_us), _seconds(summary.interrupted_reply_us)
        yield f"Interrupted: {count:,}. Of their replies, {heard} of {reply} was heard."


def _speculation(summary: Summary) -> Iterator[str]:
    sums = summary.speculation
    if sums.kept or sums.dropped:
        yield (
            f"Speculation: {sums.kept:,} kept, which brought replies {_seconds(sums.hidden_us)} sooner in "
            f"all; {sums.dropped:,} dropped, which cost {_seconds(sums.dropped_pipeline_us)} of pipeline "
            f"time and {sums.dropped_bytes:,} bytes."
        )


def _traffic(summary: Summary) -> Iterator[str]:
    traffic = summary.traffic
    ways = (
        ("sent", traffic.sent_bytes, traffic.sent_pcm_bytes),
        ("received", traffic.received_bytes, traffic.received_pcm_bytes),
    )
    told = [f"{size:,} bytes {way} ({size / pcm:.1%} of its PCM)" for way, size, pcm in ways if pcm]
    if told:
        yield f"Encoded audio: {', '.join(told)}."


def _length(duration_us: int) -> str:
    minutes, seconds = divmod(round(duration_us / 1e6), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def _seconds(duration_us: int) -> str:
    return f"{duration_us / 1e6:,.1f} s"


def _ms(duration_us: float) -> str:
    return f"{duration_us / 1000:,.0f}"
