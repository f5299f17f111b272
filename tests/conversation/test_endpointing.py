"""The endpointer alone, on probabilities; with a detector before it: test_listening.py."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation.endpointing import (
    Endpointer,
    EndpointingEvent,
    PauseReached,
    SpeechDropped,
    SpeechResumed,
    SpeechStarted,
    UtteranceEnded,
)
from shared.settings import Settings

FRAME = 512
MAY_FOLLOW: dict[type | None, set[type]] = {
    None: {SpeechStarted},
    SpeechStarted: {SpeechDropped, PauseReached, UtteranceEnded},
    SpeechDropped: {SpeechStarted},
    PauseReached: {SpeechResumed, UtteranceEnded},
    SpeechResumed: {PauseReached, UtteranceEnded},
    UtteranceEnded: {SpeechStarted},
}


def events_of(
    probabilities: list[float], endpointer: Endpointer | None = None
) -> list[tuple[int, EndpointingEvent]]:
    """Every event, behind the number of frames that had been processed when it came."""
    endpointer = endpointer or Endpointer(Settings())
    return [
        (at, event)
        for at, probability in enumerate(probabilities, start=1)
        for event in endpointer.process(probability)
    ]


def kinds(probabilities: list[float], settings: Settings | None = None) -> list[type]:
    return [type(event) for _, event in events_of(probabilities, Endpointer(settings or Settings()))]


def speech(num_frames: int) -> list[float]:
    return [0.95] * num_frames


def silence(num_frames: int) -> list[float]:
    return [0.02] * num_frames


def test_speech_then_silence_is_an_utterance() -> None:
    events = events_of(silence(50) + speech(40) + silence(60))
    start, end, speech_end = (50 - 16) * FRAME, 90 * FRAME, 87 * FRAME
    assert events == [
        (51, SpeechStarted(start)),
        (87 + 8, PauseReached(end, speech_end)),
        (87 + 31, UtteranceEnded(start, end, speech_end)),
    ]


def test_the_first_sounds_are_kept_as_far_as_the_microphone_was_open() -> None:
    assert events_of(silence(3) + speech(10))[0] == (4, SpeechStarted(0))
    assert events_of(silence(40) + speech(10))[0] == (41, SpeechStarted(24 * FRAME))


def test_silence_has_no_events() -> None:
    assert kinds(silence(1_000)) == []


def test_a_sound_shorter_than_the_minimum_is_dropped_when_a_pause_is_due() -> None:
    assert kinds(silence(5) + speech(4) + silence(100)) == [SpeechStarted, SpeechDropped]
    assert kinds(silence(5) + speech(5) + silence(100)) == [SpeechStarted, PauseReached, UtteranceEnded]


def test_short_sounds_between_silences_do_not_add_up() -> None:
    assert kinds((speech(3) + silence(10)) * 5) == [SpeechStarted, SpeechDropped] * 5


def test_who_goes_on_after_a_pause_is_still_in_the_same_utterance() -> None:
    events = events_of(speech(20) + silence(15) + speech(20) + silence(40))
    assert [type(event) for _, event in events] == [
        SpeechStarted,
        PauseReached,
        SpeechResumed,
        PauseReached,
        UtteranceEnded,
    ]
    assert events[2] == (36, SpeechResumed())
    assert events[-1][1] == UtteranceEnded(0, 55 * FRAME, 52 * FRAME)


def test_a_shorter_silence_is_no_pause() -> None:
    assert kinds(speech(20) + silence(4) + speech(20)) == [SpeechStarted]


def test_a_little_doubt_neither_begins_speech_nor_ends_it() -> None:
    doubt = [0.55] * 50
    assert kinds(silence(1) + doubt) == []
    assert kinds(speech(10) + doubt) == [SpeechStarted]
    assert kinds(speech(10) + silence(2) + doubt) == [SpeechStarted, PauseReached, UtteranceEnded]


def test_an_utterance_as_long_as_is_allowed_ends_in_mid_speech_and_the_next_begins_there() -> None:
    settings = Settings(max_utterance_s=2.0)
    events = events_of(speech(80) + silence(40), Endpointer(settings))
    assert [event for _, event in events if not isinstance(event, PauseReached)] == [
        SpeechStarted(0),
        UtteranceEnded(0, 62 * FRAME, 59 * FRAME, full=True),
        SpeechStarted(62 * FRAME),
        UtteranceEnded(62 * FRAME, 80 * FRAME, 77 * FRAME),
    ]


def test_an_utterance_is_never_longer_than_audio_may_be() -> None:
    (ended,) = [
        event
        for _, event in events_of(speech(100), Endpointer(Settings(max_audio_s=3.0)))
        if isinstance(event, UtteranceEnded)
    ]
    assert ended.end_sample - ended.start_sample <= 3 * 16_000


def test_without_a_pause_before_the_end_there_is_no_word_of_one() -> None:
    assert kinds(speech(20) + silence(40), Settings(speculation_after_s=1.0)) == [
        SpeechStarted,
        UtteranceEnded,
    ]


def test_what_was_forgotten_is_in_no_utterance() -> None:
    endpointer = Endpointer(Settings())
    events_of(speech(20), endpointer)
    endpointer.forget()
    assert events_of(silence(40), endpointer) == []
    endpointer.forget()
    assert [event for _, event in events_of(silence(2) + speech(1), endpointer)] == [
        SpeechStarted(60 * FRAME)
    ]


def test_what_extends_a_question_counts_towards_its_maximum() -> None:
    endpointer = Endpointer(Settings(max_utterance_s=2.0))
    endpointer.question_has(30 * FRAME)
    assert endpointer.samples_left == 32 * FRAME
    assert [event for _, event in events_of(speech(40), endpointer)][:2] == [
        SpeechStarted(0),
        UtteranceEnded(0, 32 * FRAME, 29 * FRAME, full=True),
    ]


@pytest.mark.parametrize("spoken", [3, 20])
def test_an_utterance_that_may_not_end_ends_when_it_may(spoken: int) -> None:
    endpointer = Endpointer(Settings())
    events_of(speech(spoken), endpointer)
    held = [event for p in silence(60) for event in endpointer.process(p, may_end=False)]
    assert not {SpeechDropped, UtteranceEnded} & set(map(type, held))
    ((_, ended),) = events_of(silence(1), endpointer)
    assert type(ended) is (SpeechDropped if spoken < 5 else UtteranceEnded)


@pytest.mark.parametrize("silence_s", [0.3, 0.5, 1.5])
def test_the_silence_that_ends_an_utterance_can_be_set_in_each_pause_for_that_pause(silence_s: float) -> None:
    endpointer = Endpointer(Settings())
    events_of(speech(20) + silence(10), endpointer)
    endpointer.end_after(silence_s)
    ((at, ended),) = events_of(silence(100), endpointer)
    assert type(ended) is UtteranceEnded
    assert 20 + 10 + at == 17 + max(13 + 1, round(silence_s / 0.032))


def test_who_goes_on_is_given_the_usual_silence_again() -> None:
    endpointer = Endpointer(Settings())
    events_of(speech(20) + silence(10), endpointer)
    endpointer.end_after(0.5)
    assert events_of(speech(20) + silence(40), endpointer)[-1] == (
        20 - 3 + 31,
        UtteranceEnded(0, 50 * FRAME, 47 * FRAME),
    )


def test_outside_a_pause_no_silence_can_be_set() -> None:
    endpointer = Endpointer(Settings())
    endpointer.end_after(0.2)
    events_of(speech(20), endpointer)
    endpointer.end_after(0.2)
    assert events_of(silence(40), endpointer)[-1][0] == 31 - 3


# Whatever the probabilities

STRETCHES = st.lists(
    st.tuples(st.sampled_from([0.02, 0.4, 0.55, 0.95]) | st.floats(0, 1), st.integers(1, 50)), max_size=20
)
SETTINGS = st.builds(
    Settings,
    pre_roll_s=st.floats(0, 1),
    min_speech_s=st.floats(0, 1),
    speculation_after_s=st.floats(0.1, 2),
    end_of_turn_silence_s=st.floats(0.2, 3),
    max_utterance_s=st.floats(2, 10),
    max_audio_s=st.floats(2, 10),
)


@given(STRETCHES, SETTINGS)
def test_events_come_in_their_order_and_places_only_grow(
    stretches: list[tuple[float, int]], settings: Settings
) -> None:
    events = events_of([p for p, n in stretches for _ in range(n)], Endpointer(settings))
    for (_, before), (_, after) in pairwise([(0, None), *events]):
        assert type(after) in MAY_FOLLOW[type(before) if before else None]
    used = start = 0
    for at, event in events:
        now = at * FRAME
        if isinstance(event, SpeechStarted):
            start = event.start_sample
            assert used <= start < now
            assert now - start <= (settings.pre_roll_s + 0.05) * 16_000
        elif isinstance(event, PauseReached):
            assert start <= event.speech_end_sample < event.end_sample <= now
        elif isinstance(event, UtteranceEnded):
            assert event.start_sample == start
            assert start <= event.speech_end_sample < event.end_sample <= now
            assert now - start <= settings.max_utterance_s * 16_000
            used = event.end_sample


@given(STRETCHES, SETTINGS)
def test_what_ends_without_being_resumed_ends_where_it_paused(
    stretches: list[tuple[float, int]], settings: Settings
) -> None:
    events = [
        event for _, event in events_of([p for p, n in stretches for _ in range(n)], Endpointer(settings))
    ]
    for before, after in pairwise(events):
        if isinstance(before, PauseReached) and isinstance(after, UtteranceEnded):
            assert (before.end_sample, before.speech_end_sample) == (
                after.end_sample,
                after.speech_end_sample,
            )


@given(STRETCHES)
def test_after_long_silence_nothing_is_left_open(stretches: list[tuple[float, int]]) -> None:
    events = kinds([p for p, n in stretches for _ in range(n)] + silence(100))
    assert not events or events[-1] in (SpeechDropped, UtteranceEnded)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.59])
def test_what_is_never_likely_to_be_speech_is_never_an_utterance(probability: float) -> None:
    assert kinds([probability] * 5_000) == []


@pytest.mark.parametrize(("threshold", "begins"), [(0.3, True), (0.5, False)])
def test_speech_begins_a_tenth_above_the_threshold(threshold: float, begins: bool) -> None:
    endpointer = Endpointer(Settings(vad_threshold=threshold))
    assert bool(events_of([0.45], endpointer)) is begins


def test_an_utterance_is_certain_once_it_is_too_long_to_be_dropped() -> None:
    endpointer = Endpointer(Settings(min_speech_s=0.096))
    certain = []
    for probability in [0.0, 0.9, 0.9, 0.9, 0.0]:
        endpointer.process(probability)
        certain.append(endpointer.certain)
    assert certain == [False, False, False, True, True]
