"""What turns did cost: from their times to seconds of containers."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.cost.containers import Scaling
from client.cost.past import Past, PastTurn, alive_s, past_of_log, past_of_metrics
from client.metrics.metrics_file import ConversationEnded, ConversationStarted, MetricsLine
from shared.errors import Stage
from shared.ledger import Ledger, Span, StageBusy
from tests.support.metrics_lines import metrics_lines, turn

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def past(*turns: tuple[float, float], from_s: float = 0.0, until_s: float = float("inf")) -> Past:
    """Turns by when they began, and how long they lasted."""
    return Past(tuple(PastTurn(began, lasted, {}, {}) for began, lasted in turns), from_s, until_s, 60.0)


def seconds(turns: Past, busy_s: float = 1.0, **scaling: Any) -> float:
    options = Scaling(**{"calls_at_once": 1, "window_s": 100} | scaling)
    return alive_s(turns, [busy_s] * len(turns.turns), options)


# Seconds of containers


def test_a_turn_keeps_a_container_to_its_end_and_for_the_window() -> None:
    assert seconds(past((50, 5))) == 105


def test_a_turn_within_the_window_keeps_it_on() -> None:
    assert seconds(past((0, 5), (80, 5))) == 185


def test_a_turn_after_the_window_has_a_container_started_again() -> None:
    assert seconds(past((0, 5), (500, 5))) == 210


def test_turns_that_overlap_take_a_container_each_unless_one_has_places_for_both() -> None:
    both = past((0, 5), (1, 5))
    assert seconds(both, busy_s=3) == 210
    assert seconds(both, busy_s=3, calls_at_once=2) == 106
    assert seconds(both, busy_s=0.5) == 106  # the work did not overlap


def test_a_turn_beyond_the_maximum_waits() -> None:
    assert seconds(past((0, 5), (0, 5), (0, 5)), busy_s=5, max_containers=1) == 115


def test_minimum_containers_are_paid_for_all_the_time() -> None:
    hour = past((0, 5), from_s=-1000, until_s=2600)
    assert seconds(hour, min_containers=1) == 3600
    overlapping = past((0, 5), (1, 5), from_s=-1000, until_s=2600)
    assert seconds(overlapping, busy_s=5, min_containers=1) == 3600 + 105


def test_what_is_still_to_come_of_a_window_is_not_counted() -> None:
    assert seconds(past((0, 5), until_s=30)) == 30


def test_without_turns_there_is_nothing_to_pay() -> None:
    assert seconds(past()) == 0
    assert seconds(past_of_metrics([]), min_containers=2) == 0


@given(
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 60)), min_size=1, max_size=20),
    st.floats(0, 60),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_it_is_never_less_than_one_turn_takes_nor_more_than_each_by_itself(
    turns: list[tuple[float, float]], busy_s: float, calls_at_once: int, max_containers: int
) -> None:
    lasting = [(began, lasted + busy_s) for began, lasted in turns]
    spent_s = seconds(past(*lasting), busy_s, calls_at_once=calls_at_once, max_containers=max_containers)
    alone_s = [lasted + 100 for _, lasted in lasting]
    waiting_s = busy_s * len(turns) ** 2
    assert max(alone_s) - 1e-6 <= spent_s <= sum(alone_s) + waiting_s + 1e-6


# The orchestrator's log


def logged(*turns: dict[str, object], at: datetime = NOON) -> Past:
    lines = [f"12:00:00 INFO speech_to_speech.turn: turn {json.dumps(fields)}" for fields in turns]
    return past_of_log([(at, line) for line in ["Traceback", *lines]], until=NOON + timedelta(minutes=10))


def test_a_turn_began_as_long_before_its_line_as_it_lasted() -> None:
    fields = {"outcome": "completed", "total_ms": 4000, "asr_busy_ms": 300, "asr": "Parakeet", "llm": None}
    hour = logged({**fields, "audio_s": 2.5, "speech_s": 5})
    (one,) = hour.turns
    assert (one.began_s, one.lasted_s) == (NOON.timestamp() - 4, 4)
    assert one.busy_s == {Stage.ASR: 0.3, Stage.LLM: 0, Stage.TTS: 0}
    assert one.models == {Stage.ASR: "Parakeet", Stage.LLM: "", Stage.TTS: ""}
    assert hour.conversation_s == 7.5
    assert hour.until_s - hour.from_s == 3600


def test_a_turn_that_was_cancelled_or_failed_is_paid_for_too() -> None:
    outcomes = ("completed", "cancelled", "failed", "no_speech")
    assert len(logged(*({"outcome": outcome, "total_ms": 10} for outcome in outcomes)).turns) == 4


@pytest.mark.parametrize("damaged", ["long", None, -1, 1e300, float("nan"), [1], True])
def test_a_damaged_duration_counts_for_nothing(damaged: object) -> None:
    hour = logged({"outcome": "completed", "total_ms": damaged, "asr_busy_ms": damaged, "audio_s": damaged})
    assert hour.turns[0].lasted_s <= 0.001
    assert hour.conversation_s <= 1


# A metrics file


def recorded(began_us: int, total_us: int, busy_us: int) -> MetricsLine:
    ledger = Ledger(
        spans=(Span(stage=Stage.TTS, activity="work", duration_us=total_us),),
        total_us=total_us,
        busy=(StageBusy(stage=Stage.LLM, calls=1, busy_us=busy_us),),
    )
    return turn(
        began_us=began_us,
        ended_us=began_us + 20_000_000,
        outcome="completed",
        ledger=ledger,
        end_to_end_us=total_us,
        models={"llm": "Phi"},
    )


def test_a_turn_of_a_file_is_as_its_ledger_says() -> None:
    started = ConversationStarted(session_id="one", at=NOON)
    ended = ConversationEnded(session_id="one", duration_us=90_000_000)
    of_file = past_of_metrics([started, recorded(10_000_000, 4_000_000, 1_500_000), ended])
    (one,) = of_file.turns
    assert (one.began_s, one.lasted_s) == (NOON.timestamp() + 10, 4)
    assert (one.busy_s, one.models[Stage.LLM]) == ({Stage.LLM: 1.5}, "Phi")
    assert of_file.conversation_s == 90


def test_sessions_of_a_file_share_containers() -> None:
    lines: list[MetricsLine] = []
    for second, session in ((0, "one"), (60, "two")):
        lines.append(ConversationStarted(session_id=session, at=NOON + timedelta(seconds=second)))
        lines.append(turn(session_id=session, began_us=0, ended_us=5_000_000))
    assert seconds(past_of_metrics(lines)) == 165


def test_a_session_whose_beginning_is_missing_is_left_out() -> None:
    assert past_of_metrics([turn(), ConversationEnded(session_id="one", duration_us=5)]).conversation_s == 0


@given(metrics_lines)
def test_any_file_has_a_cost(lines: list[MetricsLine]) -> None:
    assert seconds(past_of_metrics(lines), min_containers=1) >= 0
