"""What is told of a session at its end, and again from its file."""

import asyncio
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from rich.console import Console
from typer.testing import CliRunner, Result

from client.cli import app
from client.errors import OutputNotWritten
from client.metrics.metrics_file import MAX_LINE_BYTES, BadMetrics, MetricsFile, read_metrics
from client.metrics.session import Session
from client.metrics.session_line import SessionEnded, SessionLine, SessionStarted
from client.metrics.session_summary import Metric, Summary, summarised
from client.metrics.session_table import session_table
from client.metrics.turn_record import TurnRecord
from orchestrator.pipeline import Pipeline
from shared.settings import Settings
from tests.support.scripted_stages import REQUEST, cast
from tests.support.session_lines import session_lines, turn_records
from tests.support.virtual_clock import play

LINE: TypeAdapter[SessionLine] = TypeAdapter(SessionLine)
STARTED = SessionStarted(session_id="one")


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def turn(**fields: object) -> TurnRecord:
    return TurnRecord.model_validate(
        {"session_id": "one", "began_us": 0, "ended_us": 1, "outcome": "interrupted"} | fields
    )


def table_of(lines: Sequence[SessionLine]) -> str:
    return printed(summarised(lines))


def printed(summary: Summary) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(session_table(summary))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def metrics_by_name(summary: Summary) -> dict[str, Metric]:
    return {metric.name: metric for metric in summary.metrics}


# The sums


@given(session_lines)
def test_averages_lie_between_min_and_max_and_so_do_percentiles(lines: list[SessionLine]) -> None:
    for metric in summarised(lines).metrics:
        for value_us in (metric.average_us, metric.p50_us, metric.p95_us):
            assert metric.min_us <= value_us <= metric.max_us
        assert metric.p50_us <= metric.p95_us


@given(session_lines)
def test_averages_add_up(lines: list[SessionLine]) -> None:
    metrics = metrics_by_name(summarised(lines))
    for total, parts in (
        ("End-to-end", ("Pipeline total", "Network overhead")),
        ("Voice-to-voice", ("Pause", "Time to first audio", "Held", "Playback")),
    ):
        if total in metrics:
            assert {metrics[part].turns for part in parts} == {metrics[total].turns}
            parts_us = sum(metrics[part].average_us for part in parts)
            assert parts_us == pytest.approx(metrics[total].average_us, abs=0.01)


@given(session_lines)
def test_every_turn_is_counted_once(lines: list[SessionLine]) -> None:
    summary = summarised(lines)
    turns = sum(isinstance(line, TurnRecord) for line in lines)
    assert summary.calls == sum(summary.outcomes.values()) == turns


@given(turn_records())
def test_totals_are_of_completed_turns_and_voice_to_voice_of_all_that_were_heard(record: TurnRecord) -> None:
    included = {metric.included for metric in summarised([record]).metrics}
    assert ("completed" in included) == (record.outcome == "completed")
    assert ("heard" in included) == (record.voice_to_voice is not None)


@given(session_lines)
def test_all_traffic_counts_that_of_dropped_speculations_too(lines: list[SessionLine]) -> None:
    records = [line for line in lines if isinstance(line, TurnRecord)]
    dropped = [one for record in records for one in record.dropped_speculations]
    summary = summarised(lines)
    traffics = [*(record.traffic for record in records), *(one.traffic for one in dropped)]
    assert summary.traffic.sent_bytes == sum(traffic.sent_bytes for traffic in traffics)
    assert summary.speculation.dropped == len(dropped)
    assert summary.speculation.dropped_pipeline_us == sum(one.pipeline_us for one in dropped)


def test_sessions_are_summed_together_and_one_without_an_end_counts_to_its_last_turn() -> None:
    summary = summarised(
        [
            STARTED,
            turn(ended_us=7_000_000),
            SessionStarted(session_id="two"),
            SessionEnded(session_id="one", duration_us=10_000_000),
            turn(session_id="two", ended_us=2_000_000),
        ]
    )
    assert (summary.sessions, summary.sessions_without_end, summary.duration_us) == (2, 1, 12_000_000)


# The file


@given(turn_records() | st.just(STARTED))
def test_a_line_is_the_same_after_it_was_json(line: SessionLine) -> None:
    told = line.model_dump_json()
    assert "\n" not in told
    assert LINE.validate_json(told) == line


def test_the_report_of_a_file_is_the_live_summary(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"

    @given(st.lists(turn_records(), max_size=3), st.floats(0, 1e5))
    def told_again(records: list[TurnRecord], length_s: float) -> None:
        path.unlink(missing_ok=True)
        clock = Clock()
        with MetricsFile(path) as file:
            with Session(clock, file) as session:
                for record in records:
                    session.add(record.model_copy(update={"session_id": session.session_id}))
                clock.now_s += length_s
            summary = session.summary()
        assert summarised(read_metrics(path)) == summary
        assert summary.duration_us == round(length_s * 1e6)

    told_again()


def test_every_line_is_in_the_file_as_soon_as_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    with MetricsFile(path) as file, Session(Clock(), file) as session:
        assert [line.record for line in read_metrics(path)] == ["session_started"]
        session.add(session.new_turn(50.0).record(interrupted=True))
        assert [line.record for line in read_metrics(path)] == ["session_started", "turn"]


def test_a_session_that_is_broken_off_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    with pytest.raises(KeyboardInterrupt), MetricsFile(path) as file, Session(Clock(), file):
        raise KeyboardInterrupt
    assert [line.record for line in read_metrics(path)] == ["session_started", "session_ended"]


def test_the_next_session_is_appended_and_leaves_a_cut_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    whole = STARTED.model_dump_json()
    path.write_text(f'{whole}\n{{"record": "tu')
    with MetricsFile(path) as file:
        file.write(STARTED)
    lines = path.read_text().splitlines()
    assert lines == [whole, '{"record": "tu', whole]


def test_what_a_newer_version_adds_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    path.write_text(json.dumps(json.loads(STARTED.model_dump_json()) | {"weather": "fine"}) + "\n\n")
    assert read_metrics(path) == [STARTED]


@pytest.mark.parametrize(
    ("line", "saying"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "Line 2"),
        (b'{"record": "cake"}', "cake"),
        (b'{"record": "session_ended", "session_id": "one", "duration_us": -1}', "duration_us"),
        (b'{"record": "session_ended", "session_id": "one", "duration_us": ' + b"9" * 5000 + b"}", "Line 2"),
        (b"\xff\xfe\x00", "Line 2"),
        (b" " * MAX_LINE_BYTES + b"{}", "too long"),
    ],
    ids=["torn", "list", "unknown", "negative", "huge", "binary", "long"],
)
def test_a_damaged_line_is_told_by_its_number(tmp_path: Path, line: bytes, saying: str) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(STARTED.model_dump_json().encode() + b"\n" + line + b"\n")
    with pytest.raises(BadMetrics, match=saying) as told:
        read_metrics(path)
    assert "Line 2" in told.value.message


def test_a_file_of_too_many_lines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(b"\n" * 100_001)
    with pytest.raises(BadMetrics, match="100,000 lines"):
        read_metrics(path)


def test_a_file_that_cannot_be_written_is_refused_before_the_session(tmp_path: Path) -> None:
    with pytest.raises(OutputNotWritten, match="No such file or directory"):
        MetricsFile(tmp_path / "nowhere" / "session.jsonl")


def test_a_disk_that_is_full_does_not_end_the_session(caplog: pytest.LogCaptureFixture) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with MetricsFile(Path("/dev/full")) as file, Session(Clock(), file) as session:
        session.add(turn())
    assert session.summary().calls == 1
    (told,) = caplog.messages
    assert "No space left" in told


# The table


def test_the_table_of_a_real_turn_adds_up_with_speculation_in_the_silence() -> None:
    """A pipeline over scripted stages, on a virtual clock: speech ends at 2 s, the request goes out 0.25 s
    later, the turn is certain 1 s after the speech."""

    async def conversation() -> Session:
        now = asyncio.get_running_loop().time
        with Session(now) as session:
            await asyncio.sleep(2.25)
            book = session.new_turn(speech_began_s=0.5)
            book.speech_ended(2.0)
            book.request_sent(REQUEST)
            certain = asyncio.create_task(_after(0.75, book.turn_certain))
            async for event in Pipeline(cast(), Settings()).stream(REQUEST):
                book.told(event)
            await certain
            book.first_sound()
            session.add(book.record(heard_s=60.0))
        return session

    summary = play(conversation()).summary()
    metrics = metrics_by_name(summary)
    assert metrics["Network overhead"].max_us == 0  # it is the same process, and the same clock
    assert metrics["Pause"].average_us == 250_000
    assert metrics["ASR"].average_us == 100_000
    first_audio_us = metrics["Time to first audio"].average_us
    assert metrics["Held"].average_us == max(0, 750_000 - first_audio_us)
    assert summary.speculation.hidden_us == min(750_000, first_audio_us)
    assert summary.models == {
        "asr": ("scripted ears",),
        "llm": ("scripted mind",),
        "tts": ("scripted voice",),
    }


async def _after(delay_s: float, happens: Callable[[], None]) -> None:
    await asyncio.sleep(delay_s)
    happens()


TOLD: list[SessionLine] = [
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
        traffic={"sent_bytes": 1_000, "sent_pcm_bytes": 4_000},
    ),
    turn(
        reply_us=8_000_000,
        heard_us=3_140_000,
        underruns=2,
        dropped_speculations=[
            {"pipeline_us": 400_000, "traffic": {"sent_bytes": 500, "sent_pcm_bytes": 2_000}}
        ],
    ),
    turn(outcome="no_speech"),
    SessionEnded(session_id="one", duration_us=125_000_000, microphone_lost_us=300_000),
]


@pytest.mark.parametrize(
    "line",
    [
        "Session of 2 min 5 s, 3 calls: 1 completed, 1 interrupted, 1 without speech.",
        "ASR 1 300 300 300 300 300",
        "Pipeline total 1 1,200 1,200 1,200 1,200 1,200",
        "Network overhead 1 300 300 300 300 300",
        "End-to-end 1 1,500 1,500 1,500 1,500 1,500",
        "Time to first audio 1 600 600 600 600 600",
        "Voice-to-voice 1 1,050 1,050 1,050 1,050 1,050",
        "Interrupted: 1. Of their replies, 3.1 s of 8.0 s was heard.",
        "Speculation: 1 kept, which brought replies 0.6 s sooner in all; 1 dropped, which cost 0.4 s of "
        "pipeline time and 500 bytes.",
        "Encoded audio: 1,500 bytes sent (25.0% of its PCM).",
        "Underruns of playback: 2.",
        "Not listened to, as this machine was too busy: 0.3 s.",
        "Models: ASR ears [v2].",
    ],
)
def test_the_table_tells(line: str) -> None:
    assert line in " ".join(table_of(TOLD).split())


def test_a_session_without_a_turn_is_told_in_a_line() -> None:
    ended = SessionEnded(session_id="one", duration_us=12_000_000)
    assert table_of([STARTED, ended]) == "Session of 12 s, no calls: nobody spoke.\n"
    assert table_of([]) == "No session.\n"


@given(session_lines)
def test_whatever_happened_fits_on_80_columns(lines: list[SessionLine]) -> None:
    assert all(len(line) <= 80 for line in table_of(lines).splitlines())


# The command


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "session.jsonl"
    path.write_text("".join(line.model_dump_json() + "\n" for line in TOLD))
    return path


def test_the_command_prints_the_table_without_colours_into_a_pipe(metrics: Path) -> None:
    result = report(metrics)
    assert result.exit_code == 0, result.output
    assert result.stdout == table_of(TOLD)


def test_the_command_prints_the_sums_as_json(metrics: Path) -> None:
    told = json.loads(report(metrics, "--json").stdout)
    summary = summarised(TOLD)
    assert told == json.loads(json.dumps(asdict(summary) | {"traffic": summary.traffic.model_dump()}))
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
    make(tmp_path / "session.jsonl")
    result = report(tmp_path / "session.jsonl")
    assert result.exit_code == 4
    assert saying in result.stderr
    assert len(result.stderr.splitlines()) == 1
