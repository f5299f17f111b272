"""A ledger that does not add up is no ledger."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors import Stage
from shared.ledger import Ledger, LedgerClock, Span, StageBusy

moments = st.lists(st.floats(0, 1e6), min_size=1, max_size=30).map(sorted)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@given(moments, st.lists(st.integers(-(10**9), 10**9), min_size=30, max_size=30), st.integers(0, 29))
def test_spans_sum_to_the_total_and_to_the_first_audio_exactly(
    times: list[float], callee: list[int], first_audio_at: int
) -> None:
    clock = Clock()
    clock.now_s = times[0]
    book = LedgerClock(clock)
    for lap, now_s in enumerate(times[1:]):
        clock.now_s = now_s
        book.lap(Stage.TTS, "work", callee_us=callee[lap])
        if lap == first_audio_at:
            book.first_audio()
    ledger = book.ledger()
    assert sum(span.duration_us for span in ledger.spans) == ledger.total_us
    assert ledger.total_us == round(times[-1] * 1e6) - round(times[0] * 1e6)
    assert all(span.duration_us > 0 for span in ledger.spans)


def test_what_exceeds_the_callees_own_time_is_transport() -> None:
    clock = Clock()
    book = LedgerClock(clock)
    clock.now_s = 0.5
    book.lap(Stage.ASR, "work", callee_us=400_000)
    assert [(s.activity, s.duration_us) for s in book.ledger().spans] == [
        ("work", 400_000),
        ("transport", 100_000),
    ]


def test_a_callee_that_claims_more_than_its_caller_saw_is_not_believed() -> None:
    clock = Clock()
    book = LedgerClock(clock)
    clock.now_s = 0.5
    book.lap(Stage.ASR, "work", callee_us=900_000)
    assert [(s.activity, s.duration_us) for s in book.ledger().spans] == [("work", 500_000)]


def test_a_lap_can_end_earlier_than_now_but_not_before_the_last() -> None:
    clock = Clock()
    book = LedgerClock(clock)
    clock.now_s = 2.0
    book.lap(Stage.LLM, "start", until_us=1_000_000)
    book.lap(Stage.LLM, "first token", until_us=500_000)
    book.lap(Stage.LLM, "work")
    assert [(s.activity, s.duration_us) for s in book.ledger().spans] == [
        ("start", 1_000_000),
        ("work", 1_000_000),
    ]


def test_busy_times_are_kept_apart_from_the_spans() -> None:
    book = LedgerClock(Clock())
    book.busy(Stage.TTS, 5)
    book.busy(Stage.TTS, 7)
    assert book.ledger().busy == (StageBusy(stage=Stage.TTS, calls=2, busy_us=12),)
    assert book.ledger().total_us == 0


@pytest.mark.parametrize(("total_us", "first_us"), [(11, None), (9, None), (10, 4), (10, 11)])
def test_a_ledger_that_does_not_add_up_cannot_be_made(total_us: int, first_us: int | None) -> None:
    spans = tuple(Span(stage=Stage.ASR, activity="work", duration_us=us) for us in (3, 7))
    with pytest.raises(ValidationError):
        Ledger(spans=spans, total_us=total_us, time_to_first_audio_us=first_us)
