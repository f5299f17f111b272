from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation.barge_in import BargeIn, BargeInEvent
from shared.settings import Settings

PAUSE, RESUME, INTERRUPT = BargeInEvent.PAUSE, BargeInEvent.RESUME, BargeInEvent.INTERRUPT
SHORT_SOUND = BargeInEvent.SHORT_SOUND
SPEECH, SILENCE = 0.95, 0.02


def events_of(probabilities: list[float], settings: Settings | None = None) -> list[tuple[int, BargeInEvent]]:
    """Every event, behind the number of frames that had been processed when it came."""
    barge_in = BargeIn(settings or Settings())
    events = [(at, barge_in.process(probability)) for at, probability in enumerate(probabilities, start=1)]
    return [(at, event) for at, event in events if event]


def test_the_first_frame_of_speech_pauses_the_reply() -> None:
    assert events_of([SILENCE] * 9 + [SPEECH]) == [(10, PAUSE)]


def test_half_a_second_of_speech_interrupts_it() -> None:
    assert events_of([SILENCE] * 9 + [SPEECH] * 50) == [(10, PAUSE), (25, INTERRUPT)]


def test_how_much_speech_interrupts_is_a_setting() -> None:
    assert events_of([SPEECH] * 50, Settings(barge_in_after_s=1.0)) == [(1, PAUSE), (31, INTERRUPT)]


def test_after_shorter_speech_it_is_to_be_decided_what_it_was() -> None:
    assert events_of([SPEECH] * 15 + [SILENCE] * 50) == [(1, PAUSE), (22, SHORT_SOUND)]


def test_after_what_is_too_short_for_a_word_the_reply_goes_on() -> None:
    assert events_of([SPEECH] * 4 + [SILENCE] * 50) == [(1, PAUSE), (11, RESUME)]


def test_a_click_behind_a_word_does_not_make_it_none() -> None:
    barge_in = BargeIn(Settings())
    word, click = [SPEECH] * 8 + [SILENCE] * 7, [SPEECH] + [SILENCE] * 7
    assert [event for p in word + click if (event := barge_in.process(p))] == [PAUSE, SHORT_SOUND] * 2
    barge_in.resumed()
    assert [event for p in click if (event := barge_in.process(p))] == [PAUSE, RESUME]


def test_a_short_dip_is_passed_over_and_does_not_count() -> None:
    assert events_of([SPEECH] * 8 + [SILENCE] * 6 + [SPEECH] * 8) == [(1, PAUSE), (22, INTERRUPT)]


def test_each_back_channel_is_one_of_its_own() -> None:
    mm_hm = [SPEECH] * 12 + [SILENCE] * 30
    assert [event for _, event in events_of(mm_hm * 5)] == [PAUSE, SHORT_SOUND] * 5


def test_clicks_in_a_row_do_not_interrupt() -> None:
    assert INTERRUPT not in [event for _, event in events_of(([SPEECH] + [SILENCE] * 8) * 100)]


def test_a_little_doubt_neither_pauses_nor_resumes() -> None:
    assert events_of([0.55] * 100) == []
    assert events_of([SPEECH] + [0.55] * 14) == [(1, PAUSE)]


def test_after_an_interruption_nothing_comes() -> None:
    assert [event for _, event in events_of([SPEECH] * 20 + [SILENCE] * 50 + [SPEECH] * 50)] == [
        PAUSE,
        INTERRUPT,
    ]


@pytest.mark.parametrize("after_s", [0.05, 0.5, 5.0])
@given(
    stretches=st.lists(st.tuples(st.sampled_from([SILENCE, 0.55, SPEECH]), st.integers(1, 40)), max_size=20)
)
def test_pauses_and_their_ends_alternate_and_an_interruption_is_the_last(
    after_s: float, stretches: list[tuple[float, int]]
) -> None:
    probabilities = [p for p, n in stretches for _ in range(n)]
    settings = Settings(barge_in_after_s=after_s)
    events = events_of(probabilities, settings)
    for (_, before), (_, after) in pairwise([(0, RESUME), *events]):
        assert after in ({PAUSE} if before in (RESUME, SHORT_SOUND) else {RESUME, SHORT_SOUND, INTERRUPT})
        assert before is not INTERRUPT
    for at, event in events:
        if event is INTERRUPT:
            began = max(start for start, other in events if other is PAUSE)
            assert at - began + 1 >= round(after_s * 31.25)
            assert probabilities[at - 1] != SILENCE
