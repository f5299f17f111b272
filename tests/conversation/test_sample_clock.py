"""The moment of a sample, whatever kept its windows waiting."""

import numpy as np
import pytest

from bench.sounds import example
from conversation.listener import Listener, UtteranceFinished
from conversation.sample_clock import SampleClock
from shared.settings import Settings

WINDOW, WINDOW_S = 512, 0.032
OPENED_S = 100.0


def clock(late_s: list[float]) -> SampleClock:
    """After so many windows, each taken so late."""
    taken = SampleClock()
    for number, late in enumerate(late_s, start=1):
        taken.taken(number * WINDOW, OPENED_S + number * WINDOW_S + late)
    return taken


def test_a_sample_was_heard_when_its_window_came() -> None:
    assert clock([0.0] * 10).moment(5 * WINDOW) == pytest.approx(OPENED_S + 5 * WINDOW_S)


def test_windows_that_are_taken_late_were_heard_no_later() -> None:
    assert clock([0.0] * 10 + [0.2, 0.17, 0.14]).moment(13 * WINDOW) == pytest.approx(
        OPENED_S + 13 * WINDOW_S
    )


def test_what_was_on_time_long_ago_tells_nothing_of_a_clock_that_drifts() -> None:
    drift_s = [number * WINDOW_S * 1e-4 for number in range(10_000)]
    assert clock(drift_s).moment(10_000 * WINDOW) == pytest.approx(
        OPENED_S + 10_000 * WINDOW_S + drift_s[-1], abs=0.001
    )


def test_before_anything_is_heard_there_is_no_moment() -> None:
    with pytest.raises(ValueError, match="empty"):
        SampleClock().moment(0)


def end_of_speech_s(*, late_s: float) -> float:
    """As a listener tells it that takes every window after 1.5 s so late."""
    samples = np.pad(example("hello").samples, (WINDOW, 2 * 16_000))
    heard = 0
    listener = Listener(Settings(), lambda: (heard / 16_000) + (late_s if heard > 24_000 else 0.0))
    for start in range(0, samples.size - WINDOW, WINDOW):
        heard = start + WINDOW
        for event in listener.hear(samples[start:heard]):
            if isinstance(event, UtteranceFinished):
                return event.speech_end_s
    raise AssertionError("the utterance ends")


def test_a_busy_event_loop_does_not_move_the_end_of_speech() -> None:
    assert end_of_speech_s(late_s=0.3) == pytest.approx(end_of_speech_s(late_s=0.0))
