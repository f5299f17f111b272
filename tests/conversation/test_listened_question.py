"""The question that a listener sends: from the microphone to MP3."""

from collections.abc import Callable

import numpy as np
import pytest

from bench.sounds import HZ, Samples, recorded
from conversation.audio import Frame
from conversation.endpointing import PauseReached, SpeechStarted, UtteranceEnded
from shared.audio.decode import decode_mp3
from shared.payloads import Mp3Audio
from tests.conversation.test_listening import SPEECH_S, events_of, frames, with_silence
from tests.support.hearing import Hearing
from tests.support.paths import EXAMPLES
from tests.support.sounds import likeness


def questions(samples: Samples, listener: Hearing) -> list[Mp3Audio]:
    """What would be sent: at each pause, and at each end."""
    return [
        listener.question(event)
        for frame in frames(samples)
        for event in listener.hear(Frame(frame))
        if isinstance(event, PauseReached | UtteranceEnded)
    ]


def test_what_is_sent_at_a_pause_is_what_was_said_and_the_same_at_the_end(listener: Hearing) -> None:
    name = "what-is-two-plus-two.mp3"
    sound = with_silence(recorded(EXAMPLES / name))
    at_pause, at_end = questions(sound, listener)
    assert at_pause == at_end  # byte for byte: it was not encoded again
    (start,) = (event.start_sample for event in events_of(sound) if isinstance(event, SpeechStarted))
    said = decode_mp3(at_pause).samples
    assert likeness(said, sound[start : start + said.size]) > 0.98
    assert start / HZ <= 1.0 + SPEECH_S[name][0]
    assert (start + said.size) / HZ >= 1.0 + SPEECH_S[name][1]


@pytest.mark.parametrize("silence_s", [1.1, 1.3, 6.0])
def test_what_is_said_after_the_end_of_an_utterance_extends_the_question(
    listener: Hearing, silence_s: float
) -> None:
    hello, time = (recorded(EXAMPLES / name) for name in ("hello.mp3", "what-time-is-it.mp3"))
    sound = np.concatenate([with_silence(hello, after_s=silence_s), with_silence(time, before_s=0.0)])
    *_, first, _, whole = (decode_mp3(audio).samples for audio in questions(sound, listener))
    assert np.array_equal(whole[: first.size], first)
    assert whole.size >= hello.size + time.size
    silence_kept_s = (whole.size - hello.size - time.size) / HZ
    assert silence_kept_s < 2.5  # of a long silence only what surrounds speech


@pytest.mark.parametrize("close", [Hearing.reply_audible, Hearing.turn_ended])
def test_once_its_reply_is_audible_or_over_a_question_is_not_extended(
    listener: Hearing,
    close: Callable[[Hearing], None],
) -> None:
    hello, time = (recorded(EXAMPLES / name) for name in ("hello.mp3", "what-time-is-it.mp3"))
    questions(with_silence(hello), listener)
    close(listener)
    (*_, second) = questions(with_silence(time), listener)
    assert second.duration_s < time.size / HZ + 1.0
    assert not listener.extends
