"""The metrics of conversations summed, as a table and by the command `s2s report`."""

import asyncio
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from rich.console import Console
from typer.testing import Result

from client.metrics.conversation_metrics import ConversationMetrics
from client.metrics.metrics_file import (
    ConversationEnded,
    ConversationStarted,
    MetricsLine,
)
from client.metrics.summary import EndsOfTurn, Metric, Summary, summarized
from client.metrics.table import summary_table
from conversation.turn_detection import EndedBy
from conversation.turn_record import EndOfTurn, TurnRecord
from conversation.turn_recorder import TurnRecorder
from orchestrator.pipeline import Pipeline
from shared.settings import Settings
from tests.support.metrics_lines import STARTED, metrics_lines, turn, turn_records
from tests.support.s2s_command import s2s
from tests.support.scripted_stages import REQUEST, cast
from tests.support.virtual_clock import play


def table_of(lines: Sequence[MetricsLine]) -> str:
    return printed(summarized(lines))


def printed(summary: Summary) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(summary_table(summary))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def report(*arguments: str | Path) -> Result:
    return s2s("report", *arguments)


def metrics_by_name(summary: Summary) -> dict[str, Metric]:
    return {metric.name: metric for metric in summary.metrics}


# The sums


@given(metrics_lines)
def test_averages_lie_between_min_and_max_and_so_do_percentiles(lines: list[MetricsLine]) -> None:
    for metric in summarized(lines).metrics:
        for value_us in (metric.average_us, metric.p50_us, metric.p95_us):
            assert metric.min_us <= value_us <= metric.max_us
        assert metric.p50_us <= metric.p95_us


@given(metrics_lines)
def test_averages_add_up(lines: list[MetricsLine]) -> None:
    metrics = metrics_by_name(summarized(lines))
    for total, parts in (
        ("End-to-end", ("Pipeline total", "Network overhead")),
        ("Voice-to-voice", ("Pause", "Time to first audio", "Held", "Playback")),
    ):
        if total in metrics:
            assert {metrics[part].turns for part in parts} == {metrics[total].turns}
            parts_us = sum(metrics[part].average_us for part in parts)
            assert parts_us == pytest.approx(metrics[total].average_us, abs=0.01)


@given(metrics_lines)
def test_every_turn_is_counted_once(lines: list[MetricsLine]) -> None:
    summary = summarized(lines)
    turns = sum(isinstance(line, TurnRecord) for line in lines)
    assert summary.turns == sum(summary.outcomes.values()) == turns


@given(turn_records())
def test_totals_are_of_completed_turns_and_voice_to_voice_of_all_that_were_heard(record: TurnRecord) -> None:
    included = {metric.included for metric in summarized([record]).metrics}
    assert ("completed" in included) == (record.outcome == "completed")
    assert ("played" in included) == (record.voice_to_voice is not None)


@given(metrics_lines)
def test_every_dropped_request_is_counted(lines: list[MetricsLine]) -> None:
    dropped_us = [us for line in lines if isinstance(line, TurnRecord) for us in line.dropped_requests_us]
    summary = summarized(lines)
    assert (summary.requests_dropped, summary.dropped_pipeline_us) == (len(dropped_us), sum(dropped_us))


def test_ends_of_turn_are_counted_by_what_set_the_silence_and_how_often_it_was_wrong() -> None:
    of_model = [end("model", 350_000), end("model", 450_000, spoke_on=True), end("model", 2_000_000)]
    summary = summarized([turn(ends=[*of_model, end("fallback", 1_000_000)]), turn(ends=of_model[:1])])
    assert summary.ends_of_turn == (
        EndsOfTurn("model", count=4, silence_p50_us=400_000, spoke_on=1, long=1),
        EndsOfTurn("fallback", count=1, silence_p50_us=1_000_000, spoke_on=0, long=0),
    )
    table = " ".join(printed(summary).split())
    assert (
        "Turns ended by turn detection: 4, after 0.40 s in the median; the speaker had not finished: 1; "
        "silence of more than 1.2 s: 1."
    ) in table
    assert "Turns ended without turn detection's answer: 1, after 1.00 s in the median." in table


def end(ended_by: EndedBy, silence_us: int, *, spoke_on: bool = False) -> EndOfTurn:
    return EndOfTurn(ended_by=ended_by, silence_us=silence_us, spoke_on=spoke_on)


def test_conversations_are_summed_and_one_without_an_end_counts_to_its_last_turn() -> None:
    summary = summarized(
        [
            STARTED,
            turn(ended_us=7_000_000),
            ConversationStarted(session_id="two"),
            ConversationEnded(session_id="one", duration_us=10_000_000),
            turn(session_id="two", ended_us=2_000_000),
        ]
    )
    assert (summary.conversations, summary.conversations_without_end, summary.duration_us) == (
        2,
        1,
        12_000_000,
    )


# The table


def test_the_table_of_a_real_turn_adds_up_with_speculation_in_the_silence() -> None:
    """A pipeline over scripted stages, on a virtual clock: speech ends at 2 s, the request goes out 0.25 s
    later, the turn is certain 1 s after the speech."""

    async def conversation() -> ConversationMetrics:
        now = asyncio.get_running_loop().time
        with ConversationMetrics(now) as metrics:
            await asyncio.sleep(2.25)
            recorder = TurnRecorder(now, metrics.session_id, 0.0, speech_began_s=0.5)
            recorder.speech_ended(2.0)
            recorder.request_sent(REQUEST)
            certain = asyncio.create_task(_after(0.75, recorder.turn_certain))
            async for event in Pipeline(cast(), Settings()).stream(REQUEST):
                recorder.observe(event)
            await certain
            recorder.first_audio(now())
            metrics.add(recorder.record(played_s=60.0))
        return metrics

    summary = play(conversation()).summary()
    metrics = metrics_by_name(summary)
    assert metrics["Network overhead"].max_us == 0  # it is the same process, and the same clock
    assert metrics["Pause"].average_us == 250_000
    assert metrics["ASR"].average_us == 100_000
    first_audio_us = metrics["Time to first audio"].average_us
    assert metrics["Held"].average_us == max(0, 750_000 - first_audio_us)
    assert summary.hidden_us == min(750_000, first_audio_us)
    assert summary.models == {
        "asr": ("scripted ASR",),
        "llm": ("scripted LLM",),
        "tts": ("scripted TTS",),
    }


async def _after(delay_s: float, happens: Callable[[], None]) -> None:
    await asyncio.sleep(delay_s)
    happens()


LINES: list[MetricsLine] = [
    STARTED,
    turn(
        outcome="completed",
        ended_us=61_000_000,
        ledger={
            "spans": [{"stage": "asr", "activity": "work", "duration_us": 1_200_000}],
            "total_us": 1_200_000,
            "busy": [{"stage": "asr", "calls": 1, "busy_us": 300_000}],
        },
        end_to_end_us=1_500_000,
        models={"asr": "ears [v2]"},
        voice_to_voice={
            "pause_us": 250_000,
            "first_audio_us": 600_000,
            "held_us": 150_000,
            "playback_us": 50_000,
            "total_us": 1_050_000,
        },
        kept_speculation_us=750_000,
    ),
    turn(
        reply_us=8_000_000,
        played_us=3_140_000,
        underruns=2,
        dropped_requests_us=[400_000],
    ),
    turn(outcome="no_speech"),
    ConversationEnded(session_id="one", duration_us=125_000_000, microphone_lost_us=300_000),
]


@pytest.mark.parametrize(
    "line",
    [
        "Conversation of 2 min 5 s, 3 turns: 1 completed, 1 interrupted, 1 without speech.",
        "ASR 1 300 300 300 300 300",
        "Pipeline total 1 1,200 1,200 1,200 1,200 1,200",
        "Network overhead 1 300 300 300 300 300",
        "End-to-end 1 1,500 1,500 1,500 1,500 1,500",
        "Time to first audio 1 600 600 600 600 600",
        "Voice-to-voice 1 1,050 1,050 1,050 1,050 1,050",
        "Interrupted: 1. Of their replies, 3.1 s of 8.0 s was played.",
        "Speculation: 1 kept, 0.6 s saved in all.",
        "Requests dropped because the speaker went on: 1, 0.4 s of pipeline time.",
        "Playback underruns: 2.",
        "Dropped microphone audio: 0.3 s (CPU overloaded).",
        "Models: ASR ears [v2].",
    ],
)
def test_the_table_says(line: str) -> None:
    assert line in " ".join(table_of(LINES).split())


def test_a_conversation_without_a_turn_is_a_line() -> None:
    ended = ConversationEnded(session_id="one", duration_us=12_000_000)
    assert table_of([STARTED, ended]) == "Conversation of 12 s, no turns: nobody spoke.\n"
    assert table_of([]) == "No conversation.\n"


@given(metrics_lines)
def test_whatever_happened_fits_on_80_columns(lines: list[MetricsLine]) -> None:
    assert all(len(line) <= 80 for line in table_of(lines).splitlines())


# The command


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line.model_dump_json() + "\n" for line in LINES))
    return path


def test_the_command_prints_the_table_without_colours_into_a_pipe(metrics: Path) -> None:
    result = report(metrics)
    assert result.exit_code == 0, result.output
    assert result.stdout == table_of(LINES)


def test_the_command_prints_the_sums_as_json(metrics: Path) -> None:
    told = json.loads(report(metrics, "--json").stdout)
    summary = summarized(LINES)
    assert told == json.loads(json.dumps(asdict(summary)))
    assert told["outcomes"] == {"completed": 1, "interrupted": 1, "no_speech": 1}


@pytest.mark.parametrize(
    ("make", "saying"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_text("{"), "Line 1"),
    ],
    ids=["missing", "directory", "damaged"],
)
def test_what_is_no_metrics_file_is_refused_in_a_line(
    tmp_path: Path, make: Callable[[Path], None], saying: str
) -> None:
    make(tmp_path / "metrics.jsonl")
    result = report(tmp_path / "metrics.jsonl")
    assert result.exit_code == 4
    assert saying in result.stderr
    assert len(result.stderr.splitlines()) == 1
