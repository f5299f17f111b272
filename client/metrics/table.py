"""A summary as a table, and remarks on it."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from client.display.terminal import plain_table
from client.metrics.summary import LONG_WAIT_US, EndsOfTurn, Metric, Summary
from conversation.turn_detection import EndedBy
from shared.errors import Stage

_OUTCOMES = {
    "completed": "completed",
    "interrupted": "interrupted",
    "failed": "failed",
    "no_speech": "without speech",
}
ENDED_BY: dict[EndedBy, str] = {
    "silence": "Turns ended by a fixed silence",
    "model": "Turns ended by turn detection",
    "fallback": "Turns ended without turn detection's answer",
}
SUMS = {"End-to-end", "Voice-to-voice"}
METRIC_HEADINGS = ("milliseconds", "turns", "average", "min", "max", "p50", "p95")


def summary_table(summary: Summary) -> RenderableType:
    """The summary for a person, in 80 columns."""
    parts: list[RenderableType] = [Text(headline(summary), "bold")]
    if summary.metrics:
        parts.append(_table(summary.metrics))
    parts += [Text(line) for line in remarks(summary)]
    return Group(*parts)


def metric_cells(metric: Metric) -> tuple[str, ...]:
    """A row below METRIC_HEADINGS."""
    times_us = (metric.average_us, metric.min_us, metric.max_us, metric.p50_us, metric.p95_us)
    return metric.name, f"{metric.turns:,}", *(f"{us / 1000:,.0f}" for us in times_us)


def headline(summary: Summary) -> str:
    """How long, how many turns, and how they ended."""
    if not summary.conversations:
        return "No conversation."
    what = "Conversation" if summary.conversations == 1 else f"{summary.conversations:,} conversations"
    at_least = "at least " if summary.conversations_without_end else ""
    length = f"{what} of {at_least}{_length(summary.duration_us)}"
    if not summary.turns:
        return f"{length}, no turns: nobody spoke."
    turns = f"{summary.turns:,} turn{'s' if summary.turns > 1 else ''}"
    outcomes = (
        f"{count:,} {name}" for key, name in _OUTCOMES.items() if (count := summary.outcomes.get(key))
    )
    return f"{length}, {turns}: {', '.join(outcomes)}."


def _table(metrics: tuple[Metric, ...]) -> Table:
    name, *figures = METRIC_HEADINGS
    table = plain_table(name, figures=figures)
    for metric in metrics:
        table.add_row(
            *metric_cells(metric),
            style="bold" if metric.name in SUMS else "",
            end_section=metric.name == "End-to-end",
        )
    return table


def remarks(summary: Summary) -> Iterator[str]:
    """What the figures include, and what is not a duration."""
    included = {metric.included for metric in summary.metrics}
    if "completed" in included:
        yield (
            "ASR to end-to-end: completed turns. Pipeline total and network overhead add up to end-to-end; "
            "ASR, LLM and TTS overlap."
        )
    if "played" in included:
        yield (
            "Pause to voice-to-voice: all turns with audio, interrupted ones too. Pause (end of speech to "
            "request), time to first audio, held (until the turn was certain) and playback (until the audio "
            "was played) add up to voice-to-voice."
        )
    if count := summary.outcomes.get("interrupted"):
        played, reply = _seconds(summary.interrupted_played_us), _seconds(summary.interrupted_reply_us)
        yield f"Interrupted: {count:,}. Of their replies, {played} of {reply} was played."
    if summary.speculations_kept:
        yield f"Speculation: {summary.speculations_kept:,} kept, {_seconds(summary.hidden_us)} saved in all."
    for ends in summary.ends_of_turn:
        yield _end_of_turn(ends)
    if summary.requests_dropped:
        yield (
            f"Requests dropped because the speaker went on: {summary.requests_dropped:,}, "
            f"{_seconds(summary.dropped_pipeline_us)} of pipeline time."
        )
    if summary.underruns:
        yield f"Playback underruns: {summary.underruns:,}."
    if summary.microphone_lost_us:
        yield f"Dropped microphone audio: {_seconds(summary.microphone_lost_us)} (CPU overloaded)."
    if summary.models:
        models = (f"{Stage(stage).upper()} {', '.join(names)}" for stage, names in summary.models.items())
        yield f"Models: {'; '.join(models)}."


def _end_of_turn(ends: EndsOfTurn) -> str:
    parts = [f"{ends.count:,}, after {ends.silence_p50_us / 1e6:.2f} s in the median"]
    if ends.spoke_on:
        parts.append(f"the speaker had not finished: {ends.spoke_on:,}")
    if ends.ended_by == "model" and ends.long:
        parts.append(f"silence of more than {LONG_WAIT_US / 1e6:g} s: {ends.long:,}")
    return f"{ENDED_BY[ends.ended_by]}: {'; '.join(parts)}."


def _length(duration_us: int) -> str:
    minutes, seconds = divmod(round(duration_us / 1e6), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def _seconds(duration_us: int) -> str:
    return f"{duration_us / 1e6:,.1f} s"
