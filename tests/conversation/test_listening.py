"""The listener on recorded speech and noise, against ends of speech that were marked by hand."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from bench.sounds import HZ, Samples, decibels, pink_noise
from conversation.audio import Frame
from conversation.barge_in import BargeInEvent
from conversation.endpointing import PauseReached, SpeechResumed, SpeechStarted, UtteranceEnded
from conversation.listener import Listener, ListeningEvent
from services.host.vad_gate import LOUD_LEVEL
from shared.audio.decode import decode_mp3
from shared.payloads import Mp3Audio
from shared.settings import Settings
from tests.support.flite_speech import flite_says
from tests.support.noises import clicks, cough, knocks, recording, white_noise, with_noise
from tests.support.paths import EXAMPLES
from tests.support.sounds import likeness, tone

FRAME = 512

# Where speech begins and ends in the clean recordings, in seconds, read off their levels in steps of 10 ms:
# the last step before the level falls for good, its slope steepest, into the tail of the room or the voice
# (flite's examples: 30 dB below the loudest step, bursts of p, t and k included; bear-or-shark: 6 dB above
# its noise, at the end of the k).
SPEECH_S = {
    "hello.mp3": (0.09, 0.82),
    "my-name-is-peter.mp3": (0.05, 1.24),
    "tell-me-a-joke.mp3": (0.05, 1.05),
    "what-is-two-plus-two.mp3": (0.05, 1.22),
    "what-time-is-it.mp3": (0.05, 1.07),
    "bear-or-shark.mp3": (0.02, 1.90),
}
# The same of jfk.flac, in steps of 20 ms and below 2 kHz, for the room answers each phrase: the end of each
# phrase ("Americans", "not", "for you") and its beginning. The last phrase is left out: it fades into the
# audience, somewhere from 10.2 s to 10.4 s.
JFK_PHRASES_S = [(0.32, 2.12), (3.28, 4.30), (5.38, 7.54)]
JFK_LAST_PHRASE_S = 8.1
EARLIEST_S, LATEST_S = -0.15, 0.16
"""How far from the mark the estimate of the end may be. Over 198 utterances of ten recordings, at levels of 0
and -20 dB, in quiet and in white, pink and office noise at 20, 10 and 5 dB, it was 12 ms late in the median
and between 82 ms early and 108 ms late in nine of ten; the farthest were 146 ms early and 154 ms late."""
HARDLY_A_SOUND_DB = -70.0


def events_of(samples: Samples, settings: Settings | None = None) -> list[ListeningEvent]:
    """The events of a fresh listener whose microphone hears this."""
    with closing(Listener(settings or Settings(), lambda: 0.0)) as listener:
        return [event for _, event in listened(samples, listener)]


def listened(samples: Samples, listener: Listener) -> list[tuple[float, ListeningEvent]]:
    """Every event, behind the second of this sound in which it came."""
    return [
        (at * FRAME / HZ, event)
        for at, frame in enumerate(frames(samples), start=1)
        for event in listener.process(Frame(frame))
    ]


def frames(samples: Samples) -> Samples:
    return np.pad(samples, (0, -samples.size % FRAME)).reshape(-1, FRAME)


def with_silence(samples: Samples, before_s: float = 1.0, after_s: float = 1.3) -> Samples:
    return np.pad(samples, (round(before_s * HZ), round(after_s * HZ)))


def utterances(events: list[ListeningEvent]) -> list[UtteranceEnded]:
    return [event for event in events if isinstance(event, UtteranceEnded)]


def assert_heard_once_and_whole(name: str, sound: Samples) -> None:
    """The sound holds the speech after a second."""
    begins_s, ends_s = SPEECH_S[name]
    (utterance,) = utterances(events_of(sound))
    assert utterance.start_sample <= (1.0 + begins_s) * HZ
    assert EARLIEST_S <= utterance.speech_end_sample / HZ - (1.0 + ends_s) <= LATEST_S


@pytest.mark.parametrize("name", [name for name in SPEECH_S if name != "bear-or-shark.mp3"])
def test_an_utterance_ends_where_its_speaker_did(name: str) -> None:
    speech = with_silence(recording(EXAMPLES / name))
    assert_heard_once_and_whole(name, speech + white_noise(speech.size / HZ, HARDLY_A_SOUND_DB))


@pytest.mark.parametrize("snr_db", [20, 10, 5])
@pytest.mark.parametrize("noise", [white_noise, pink_noise])
@pytest.mark.parametrize("name", ["tell-me-a-joke.mp3", "what-is-two-plus-two.mp3"])
def test_it_does_so_in_noise(name: str, noise: Callable[[float, float], Samples], snr_db: float) -> None:
    speech = with_silence(recording(EXAMPLES / name))
    assert_heard_once_and_whole(name, with_noise(speech, noise(speech.size / HZ, -20), snr_db))


@pytest.mark.parametrize("level_db", [0, -15])
@pytest.mark.parametrize("name", ["what-time-is-it.mp3", "bear-or-shark.mp3"])
def test_it_does_so_in_an_office_and_from_a_quiet_microphone(
    recordings: Path, name: str, level_db: float
) -> None:
    folder = EXAMPLES if (EXAMPLES / name).exists() else recordings
    speech = with_silence(as_loud_as_usual(recording(folder / name)))
    sound = with_noise(speech, recording(recordings / "office-ambience.mp3"), snr_db=10)
    assert_heard_once_and_whole(name, sound * decibels(level_db))


def as_loud_as_usual(speech: Samples) -> Samples:
    return speech * np.float32(LOUD_LEVEL / np.quantile(np.abs(speech), 0.995))


@pytest.mark.parametrize("where", ["in quiet", "in an office"])
def test_pauses_inside_a_speech_are_told_and_taken_back(recordings: Path, where: str) -> None:
    speech = with_silence(
        recording(recordings / "jfk.flac")[: round(JFK_LAST_PHRASE_S * HZ)], before_s=0.0, after_s=2.2
    )
    if where == "in an office":
        speech = with_noise(speech, recording(recordings / "office-ambience.mp3"), snr_db=10)
    events = events_of(speech, Settings(end_of_turn_silence_s=2.0))
    assert [type(event) for event in events] == [
        SpeechStarted,
        *[PauseReached, SpeechResumed] * 3,  # after "Americans", "ask" and "not"
        PauseReached,
        UtteranceEnded,
    ]
    pauses_s = [event.speech_end_sample / HZ for event in events if isinstance(event, PauseReached)]
    del pauses_s[1]
    for pause_s, (_, ends_s) in zip(pauses_s, JFK_PHRASES_S, strict=True):
        assert EARLIEST_S <= pause_s - ends_s <= LATEST_S

    ended = utterances(events_of(speech))
    for utterance, (begins_s, ends_s) in zip(ended, JFK_PHRASES_S, strict=True):
        assert utterance.start_sample / HZ <= begins_s
        assert EARLIEST_S <= utterance.speech_end_sample / HZ - ends_s <= LATEST_S


NO_SPEECH = {
    "digital silence": np.zeros(3 * HZ, np.float32),
    "white noise at -60 dB": white_noise(3.0, -60),
    "white noise at -20 dB": white_noise(3.0, -20),
    "white noise at -6 dB": white_noise(3.0, -6),
    "pink noise at -40 dB": pink_noise(3.0, -40),
    "pink noise at -12 dB": pink_noise(3.0, -12),
    "a tone": tone(440, 2.0),
    "clicks": clicks(),
    "knocks": knocks(),
    "a cough": cough(),
    "a quiet cough": cough(1) * decibels(-20),
}


@pytest.mark.parametrize("name", NO_SPEECH)
def test_noise_is_no_utterance(name: str) -> None:
    assert utterances(events_of(with_silence(NO_SPEECH[name]))) == []


@pytest.mark.parametrize("gain_db", [0, 20])
def test_an_office_is_no_utterance(recordings: Path, gain_db: float) -> None:
    office = recording(recordings / "office-ambience.mp3")[: 15 * HZ] * decibels(gain_db)
    assert utterances(events_of(office.clip(-1, 1))) == []


@pytest.mark.needs("flite")
@pytest.mark.parametrize("word", ["yes", "no", "stop", "hi", "up"])
def test_one_short_word_is_an_utterance(word: str) -> None:
    assert len(utterances(events_of(with_silence(flite_says(word).samples)))) == 1


@pytest.mark.parametrize("lost_samples", [0, HZ])
def test_after_a_gap_the_detector_does_not_remember_what_came_before(
    listener: Listener, lost_samples: int
) -> None:
    """Speech that is cut off sounds on for the detector, unless the silence behind it is of a later time."""
    speech = recording(EXAMPLES / "what-is-two-plus-two.mp3")[: 16 * FRAME]
    listened(speech, listener)
    silence = np.zeros(FRAME, np.float32)
    events = [listener.process(Frame(silence, lost_samples if not number else 0)) for number in range(10)]
    (paused,) = (number for number, of_frame in enumerate(events) if of_frame)
    assert paused == (4 if lost_samples else 6)


# While a reply is played


def barged_in(samples: Samples) -> list[tuple[float, BargeInEvent]]:
    with closing(Listener(Settings(), lambda: 0.0)) as listener:
        listener.reply_audible()
        events = listened(samples, listener)
    return [(at_s, event) for at_s, event in events if isinstance(event, BargeInEvent)]


@pytest.mark.parametrize("name", ["what-is-two-plus-two.mp3", "my-name-is-peter.mp3"])
def test_who_speaks_during_a_reply_pauses_it_soon_and_then_interrupts_it(name: str) -> None:
    (paused_s, pause), (interrupted_s, interrupt) = barged_in(with_silence(recording(EXAMPLES / name)))
    assert (pause, interrupt) == (BargeInEvent.PAUSE, BargeInEvent.INTERRUPT)
    assert 0.0 < paused_s - (1.0 + SPEECH_S[name][0]) < 0.15
    assert 0.45 < interrupted_s - paused_s < 0.65


@pytest.mark.needs("flite")
def test_a_back_channel_only_pauses_it() -> None:
    events = [event for _, event in barged_in(with_silence(flite_says("uh huh").samples))]
    assert events == [BargeInEvent.PAUSE, BargeInEvent.RESUME]


def test_a_cough_does_not_interrupt_it() -> None:
    assert BargeInEvent.INTERRUPT not in [event for _, event in barged_in(with_silence(cough()))]


# From microphone to MP3


def questions(samples: Samples, listener: Listener) -> list[Mp3Audio]:
    """What would be sent: at each pause, and at each end."""
    return [
        listener.question(event)
        for frame in frames(samples)
        for event in listener.process(Frame(frame))
        if isinstance(event, PauseReached | UtteranceEnded)
    ]


@pytest.fixture
def listener() -> Iterator[Listener]:
    with closing(Listener(Settings(), lambda: 0.0)) as listener:
        yield listener


def test_what_is_sent_at_a_pause_is_what_was_said_and_the_same_at_the_end(listener: Listener) -> None:
    name = "what-is-two-plus-two.mp3"
    sound = with_silence(recording(EXAMPLES / name))
    at_pause, at_end = questions(sound, listener)
    assert at_pause == at_end  # byte for byte: it was not encoded again
    (start,) = (event.start_sample for event in events_of(sound) if isinstance(event, SpeechStarted))
    said = decode_mp3(at_pause).samples
    assert likeness(said, sound[start : start + said.size]) > 0.98
    assert start / HZ <= 1.0 + SPEECH_S[name][0]
    assert (start + said.size) / HZ >= 1.0 + SPEECH_S[name][1]


@pytest.mark.parametrize("silence_s", [1.1, 1.3, 6.0])
def test_what_is_said_after_the_end_of_an_utterance_extends_the_question(
    listener: Listener, silence_s: float
) -> None:
    hello, time = (recording(EXAMPLES / name) for name in ("hello.mp3", "what-time-is-it.mp3"))
    sound = np.concatenate([with_silence(hello, after_s=silence_s), with_silence(time, before_s=0.0)])
    *_, first, _, whole = (decode_mp3(audio).samples for audio in questions(sound, listener))
    assert np.array_equal(whole[: first.size], first)
    assert whole.size >= hello.size + time.size
    silence_kept_s = (whole.size - hello.size - time.size) / HZ
    assert silence_kept_s < 2.5  # of a long silence only what surrounds speech


@pytest.mark.parametrize("close", [Listener.reply_audible, Listener.turn_ended])
def test_once_its_reply_is_audible_or_over_a_question_is_not_extended(
    listener: Listener,
    close: Callable[[Listener], None],
) -> None:
    hello, time = (recording(EXAMPLES / name) for name in ("hello.mp3", "what-time-is-it.mp3"))
    questions(with_silence(hello), listener)
    close(listener)
    (*_, second) = questions(with_silence(time), listener)
    assert second.duration_s < time.size / HZ + 1.0
    assert not listener.extends


# When it was said


def end_of_speech_s(
    samples: Samples, *, late_s: float = 0.0, late_from_s: float = 1.5, lost: dict[int, int] | None = None
) -> float:
    """When the speaker stopped, by a listener that takes frames so late from some moment on. `lost` samples
    are missing just before a frame, by its number."""
    lost_in_all = captured_s = 0.0

    def now() -> float:
        return captured_s + (late_s if captured_s > late_from_s else 0.0)

    with closing(Listener(Settings(), now)) as listener:
        for number, frame in enumerate(frames(samples)):
            lost_samples = (lost or {}).get(number, 0)
            lost_in_all += lost_samples
            captured_s = ((number + 1) * FRAME + lost_in_all) / HZ
            for event in listener.process(Frame(frame, lost_samples)):
                if isinstance(event, UtteranceEnded):
                    return listener.moment(event.speech_end_sample)
    raise AssertionError("the utterance ends")


HELLO = recording(EXAMPLES / "hello.mp3")


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


def test_what_was_lost_later_does_not_move_an_earlier_moment(listener: Listener) -> None:
    for lost_samples in (0, 0, HZ, 0):
        listener.process(Frame(np.zeros(FRAME, np.float32), lost_samples))
    before, after = listener.moment(2 * FRAME), listener.moment(2 * FRAME + 1)
    assert after - before == pytest.approx(1.0, abs=0.001)


def test_before_the_first_frame_there_is_no_moment(listener: Listener) -> None:
    with pytest.raises(ValueError, match="empty"):
        listener.moment(0)
