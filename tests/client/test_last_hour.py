"""The sums of the orchestrator's turn lines."""

from datetime import UTC, datetime

from client.cloud.last_hour import LastHour, summed

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LINE = "12:00:00 INFO speech_to_speech.turn: turn outcome="


def hour_of(*lines: str) -> LastHour:
    return summed((AT, line) for line in lines)


def test_turns_are_counted_by_how_they_ended() -> None:
    hour = hour_of(LINE + "completed", LINE + "completed", LINE + "no_speech", LINE + "cancelled")
    assert hour.turns == 4
    assert hour.outcomes == {"completed": 2, "no_speech": 1, "cancelled": 1}


def test_lines_in_json_count_as_well() -> None:
    hour = hour_of('{"message": "turn", "outcome": "completed", "first_audio_ms": 250.5, "asr": "Ears"}')
    assert hour.first_audio_p50_ms == 250.5
    assert hour.models == {"asr": "Ears"}


def test_other_lines_are_passed_over() -> None:
    others = ("", "Traceback", "12:00:00 INFO other: turn left", '{"message": "else"}', '{"message": ', "[1]")
    assert hour_of(*others) == LastHour()


def test_the_time_to_first_audio_has_a_median_and_a_95th_percentile() -> None:
    hour = hour_of(*(f"{LINE}completed first_audio_ms={100 + n}" for n in range(101)))
    assert hour.first_audio_p50_ms == 150
    assert hour.first_audio_p95_ms == 195


def test_without_a_turn_that_spoke_there_is_no_such_time() -> None:
    hour = hour_of(LINE + "no_speech")
    assert (hour.first_audio_p50_ms, hour.first_audio_p95_ms) == (None, None)


def test_failures_and_cold_starts_are_counted_by_stage() -> None:
    failed = LINE + "failed error=stage_failed error_stage=tts cold=asr,tts"
    hour = hour_of(failed, failed, LINE + "completed cold=asr")
    assert hour.failures == {"tts": 2}
    assert hour.cold_starts == {"asr": 3, "tts": 2}


def test_the_last_errors_are_kept_newest_first() -> None:
    lines = (f'{LINE}failed error=stage_failed error_stage=llm error_message="Number {n}."' for n in range(9))
    errors = hour_of(*lines).errors
    assert [error.message for error in errors] == [f"Number {n}." for n in (8, 7, 6, 5, 4)]
    assert (errors[0].stage, errors[0].kind, errors[0].at) == ("llm", "stage_failed", AT)


def test_the_models_are_those_of_the_last_turn_that_named_them() -> None:
    hour = hour_of(LINE + 'completed asr="Old ears" llm=Mind', LINE + 'no_speech asr="New ears" llm=""')
    assert hour.models == {"asr": "New ears", "llm": "Mind"}
