"""`s2s status`: the sums of the orchestrator's turn lines."""

import io
import json
from datetime import UTC, datetime

import pytest
from pydantic_core import to_jsonable_python
from rich.console import Console

from client.cloud.status import LastHour, print_status, status_as_json

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def turn(outcome: str, **fields: object) -> str:
    """A turn's log line, in the format for a person."""
    return f"12:00:00 INFO speech_to_speech.turn: turn {json.dumps({'outcome': outcome, **fields})}"


def hour_of(*lines: str) -> LastHour:
    return LastHour.of((AT, line) for line in lines)


def shown(hour: LastHour) -> str:
    output = io.StringIO()
    print_status([], hour, Console(file=output, width=200))
    return output.getvalue()


def test_turns_are_counted_by_how_they_ended() -> None:
    hour = hour_of(turn("completed"), turn("completed"), turn("no_speech"), turn("cancelled"))
    assert hour.outcomes == {"completed": 2, "no_speech": 1, "cancelled": 1}
    assert "Last hour: 4 turns: 2 completed, 1 no_speech, 1 cancelled." in shown(hour)


def test_scripts_get_the_sums_as_json() -> None:
    failed = turn(
        "failed", error="stage_failed", error_stage="tts", error_message="It broke.", cold="asr,tts"
    )
    hour = hour_of(turn("completed", first_audio_ms=100), failed)
    assert to_jsonable_python(status_as_json([], hour))["last_hour"] == {
        "turns": 2,
        "outcomes": {"completed": 1, "failed": 1},
        "speculative_cancelled": 0,
        "failures_by_stage": {"tts": 1},
        "cold_starts_by_stage": {"asr": 1, "tts": 1},
        "first_audio_p50_ms": 100,
        "first_audio_p95_ms": 100,
        "models": {},
        "errors": [
            {"at": "2026-11-23T12:00:00Z", "stage": "tts", "kind": "stage_failed", "message": "It broke."}
        ],
    }


def test_one_turn_is_no_plural() -> None:
    assert "Last hour: 1 turn: 1 completed." in shown(hour_of(turn("completed")))


def test_a_cancelled_speculative_turn_is_no_outcome_and_no_sample_of_first_audio() -> None:
    hour = hour_of(
        turn("cancelled", speculative=True, first_audio_ms=9000, cold="asr", asr="Whisper"),
        turn("completed", speculative=True, first_audio_ms=300),
        turn("cancelled", speculative=False),
    )
    assert hour.outcomes == {"completed": 1, "cancelled": 1}
    assert hour.speculative_cancelled == 1
    assert hour.first_audio_percentile_ms(95) == 300
    assert "2 turns: 1 completed, 1 cancelled." in shown(hour)
    assert "Cancelled speculative turns: 1." in shown(hour)


def test_lines_in_json_count_as_well() -> None:
    hour = hour_of('{"message": "turn", "outcome": "completed", "first_audio_ms": 250.5, "asr": "Whisper"}')
    assert hour.first_audio_percentile_ms(50) == 250.5
    assert hour.models == {"asr": "Whisper"}


def test_other_lines_are_skipped() -> None:
    others = ("", "Traceback", "12:00:00 INFO other: turn left", '{"message": "else"}', '{"message": ', "[1]")
    assert hour_of(*others) == LastHour()
    assert "Last hour: no turns." in shown(LastHour())


def test_the_time_to_first_audio_has_a_median_and_a_95th_percentile() -> None:
    hour = hour_of(*(turn("completed", first_audio_ms=100 + n) for n in range(101)))
    assert hour.first_audio_percentile_ms(50) == 150
    assert hour.first_audio_percentile_ms(95) == 195
    assert "p50 150 ms, p95 195 ms" in shown(hour)


def test_without_a_turn_that_spoke_there_is_no_such_time() -> None:
    hour = hour_of(turn("no_speech", first_audio_ms=None))
    assert hour.first_audio_percentile_ms(50) is None
    assert "first audio" not in shown(hour)


def test_failures_and_cold_starts_are_counted_by_stage() -> None:
    failed = turn("failed", error="stage_failed", error_stage="tts", cold="asr,tts")
    hour = hour_of(failed, failed, turn("completed", cold="asr"))
    assert hour.failures_by_stage == {"tts": 2}
    assert hour.cold_starts_by_stage == {"asr": 3, "tts": 2}


def test_the_last_errors_are_kept_newest_first() -> None:
    fields = {"error": "stage_failed", "error_stage": "llm"}
    errors = hour_of(*(turn("failed", **fields, error_message=f"Number {n}.") for n in range(9))).errors
    assert [error.message for error in errors] == [f"Number {n}." for n in (8, 7, 6, 5, 4)]
    assert (errors[0].stage, errors[0].kind, errors[0].at) == ("llm", "stage_failed", AT)


@pytest.mark.parametrize("escape", ["\x1b[2J", "\x1b]0;title\x07", "\x9b2J", "\r"])
def test_an_error_message_from_a_remote_log_cannot_move_the_cursor(escape: str) -> None:
    hour = hour_of(
        turn("failed", error="stage_failed", error_stage="llm", error_message=f"It {escape}broke.")
    )
    output = shown(hour)
    assert "broke." in output
    assert not [one for one in output if not one.isprintable() and one != "\n"]


def test_the_models_are_those_of_the_last_turn_that_named_them() -> None:
    hour = hour_of(turn("completed", asr="Old", llm="Phi"), turn("no_speech", asr="New", llm=""))
    assert hour.models == {"asr": "New", "llm": "Phi"}
