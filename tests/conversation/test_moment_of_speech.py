"""When it was said: the end of speech on the clock, whatever is late or lost."""

from contextlib import closing

import numpy as np
import pytest

from bench.sounds import HZ, Samples, recorded
from conversation.audio import Frame
from conversation.endpointing import UtteranceEnded
from shared.settings import Settings
from tests.conversation.test_listening import FRAME, LATEST_S, SPEECH_S, frames, with_silence
from tests.support.hearing import Hearing
from tests.support.paths import EXAMPLES


def end_of_speech_s(
    samples: Samples, *, late_s: float = 0.0, late_from_s: float = 1.5, lost: dict[int, int] | None = None
) -> float:
    """When the speaker stopped, by a listener that takes frames so late from some moment on. `lost` samples
    are missing just before a frame, by its number."""
    lost_in_all = captured_s = 0.0

    def now() -> float:
        return captured_s + (late_s if captured_s > late_from_s else 0.0)

    with closing(Hearing(Settings(), now)) as listener:
        for number, frame in enumerate(frames(samples)):
            lost_samples = (lost or {}).get(number, 0)
            lost_in_all += lost_samples
            captured_s = ((number + 1) * FRAME + lost_in_all) / HZ
            for event in listener.hear(Frame(frame, lost_samples)):
                if isinstance(event, UtteranceEnded):
                    return listener.moment(event.speech_end_sample)
    raise AssertionError("the utterance ends")


HELLO = recorded(EXAMPLES / "hello.mp3")


def test_a_busy_event_loop_does_not_move_the_end_of_speech() -> None:
    said = with_silence(HELLO)
    assert end_of_speech_s(said, late_s=0.3) == pytest.approx(end_of_speech_s(said))
    assert end_of_speech_s(said) == pytest.approx(1.0 + SPEECH_S["hello.mp3"][1], abs=LATEST_S)


def test_a_clock_that_drifts_is_followed() -> None:
    said = with_silence(HELLO, before_s=20.0)
    drifting = end_of_speech_s(said, late_s=0.5, late_from_s=3.0)  # all of the last 5 s
    assert drifting == pytest.approx(end_of_speech_s(said) + 0.5)


@pytest.mark.parametrize("gap_s", [0.1, 3.0])
def test_lost_samples_take_their_time(gap_s: float) -> None:
    said, gap = with_silence(HELLO, before_s=2.0), round(gap_s * HZ)
    assert end_of_speech_s(said, lost={30: gap}) == pytest.approx(end_of_speech_s(said) + gap / HZ)
    by_three = {20: gap, 30: gap, 40: gap}
    assert end_of_speech_s(said, lost=by_three) == pytest.approx(end_of_speech_s(said) + 3 * gap / HZ)


def test_what_was_lost_later_does_not_move_an_earlier_moment(listener: Hearing) -> None:
    for lost_samples in (0, 0, HZ, 0):
        listener.hear(Frame(np.zeros(FRAME, np.float32), lost_samples))
    before, after = listener.moment(2 * FRAME), listener.moment(2 * FRAME + 1)
    assert after - before == pytest.approx(1.0, abs=0.001)


def test_before_the_first_frame_there_is_no_moment(listener: Hearing) -> None:
    with pytest.raises(ValueError, match="empty"):
        listener.moment(0)
