"""The listener on recorded speech and noise, against ends of speech that were marked by hand."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from bench.sounds import HZ, Samples, decibels, pink_noise, recorded, with_noise
from conversation.audio import Frame
from conversation.barge_in import BargeInEvent
from conversation.endpointing import PauseReached, SpeechResumed, SpeechStarted, UtteranceEnded
from conversation.listener import ListeningEvent
from services.host.vad_gate import LOUD_LEVEL
from shared.settings import Settings
from tests.support.flite_speech import flite_says
from tests.support.hearing import Hearing
from tests.support.noises import clicks, cough, knocks, white_noise
from tests.support.paths import EXAMPLES
from tests.support.sounds import tone

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
    with closing(Hearing(settings or Settings())) as listener:
        return [event for _, event in listened(samples, listener)]


def listened(samples: Samples, listener: Hearing) -> list[tuple[float, ListeningEvent]]:
    """Every event, behind the second of this sound in which it came."""
    return [
        (at * FRAME / HZ, event)
        for at, frame in enumerate(frames(samples), start=1)
        for event in listener.hear(Frame(frame))
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
    speech = with_silence(recorded(EXAMPLES / name))
    assert_heard_once_and_whole(name, speech + white_noise(speech.size / HZ, HARDLY_A_SOUND_DB))


@pytest.mark.parametrize("snr_db", [20, 10, 5])
@pytest.mark.parametrize("noise", [white_noise, pink_noise])
@pytest.mark.parametrize("name", ["tell-me-a-joke.mp3", "what-is-two-plus-two.mp3"])
def test_it_does_so_in_noise(name: str, noise: Callable[[float, float], Samples], snr_db: float) -> None:
    speech = with_silence(recorded(EXAMPLES / name))
    assert_heard_once_and_whole(name, with_noise(speech, noise(speech.size / HZ, -20), snr_db))


@pytest.mark.parametrize("level_db", [0, -15])
@pytest.mark.parametrize("name", ["what-time-is-it.mp3", "bear-or-shark.mp3"])
def test_it_does_so_in_an_office_and_from_a_quiet_microphone(
    recordings: Path, name: str, level_db: float
) -> None:
    folder = EXAMPLES if (EXAMPLES / name).exists() else recordings
    speech = with_silence(as_loud_as_usual(recorded(folder / name)))
    sound = with_noise(speech, recorded(recordings / "office-ambience.mp3"), snr_db=10)
    assert_heard_once_and_whole(name, sound * decibels(level_db))


def as_loud_as_usual(speech: Samples) -> Samples:
    return speech * np.float32(LOUD_LEVEL / np.quantile(np.abs(speech), 0.995))


@pytest.mark.parametrize("where", ["in quiet", "in an office"])
def test_pauses_inside_a_speech_are_told_and_taken_back(recordings: Path, where: str) -> None:
    speech = with_silence(
        recorded(recordings / "jfk.flac")[: round(JFK_LAST_PHRASE_S * HZ)], before_s=0.0, after_s=2.2
    )
    if where == "in an office":
        speech = with_noise(speech, recorded(recordings / "office-ambience.mp3"), snr_db=10)
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
    office = recorded(recordings / "office-ambience.mp3")[: 15 * HZ] * decibels(gain_db)
    assert utterances(events_of(office.clip(-1, 1))) == []


@pytest.mark.needs("flite")
@pytest.mark.parametrize("word", ["yes", "no", "stop", "hi", "up"])
def test_one_short_word_is_an_utterance(word: str) -> None:
    assert len(utterances(events_of(with_silence(flite_says(word).samples)))) == 1


@pytest.mark.parametrize("lost_samples", [0, HZ])
def test_after_a_gap_the_detector_does_not_remember_what_came_before(
    listener: Hearing, lost_samples: int
) -> None:
    """Speech that is cut off sounds on for the detector, unless the silence behind it is of a later time."""
    speech = recorded(EXAMPLES / "what-is-two-plus-two.mp3")[: 16 * FRAME]
    listened(speech, listener)
    silence = np.zeros(FRAME, np.float32)
    events = [listener.hear(Frame(silence, lost_samples if not number else 0)) for number in range(10)]
    (paused,) = (number for number, of_frame in enumerate(events) if of_frame)
    assert paused == (4 if lost_samples else 6)


# While a reply is played


def barged_in(samples: Samples) -> list[tuple[float, BargeInEvent]]:
    with closing(Hearing(Settings())) as listener:
        listener.reply_audible()
        events = listened(samples, listener)
    return [(at_s, event) for at_s, event in events if isinstance(event, BargeInEvent)]


@pytest.mark.parametrize("name", ["what-is-two-plus-two.mp3", "my-name-is-peter.mp3"])
def test_who_speaks_during_a_reply_pauses_it_soon_and_then_interrupts_it(name: str) -> None:
    (paused_s, pause), (interrupted_s, interrupt) = barged_in(with_silence(recorded(EXAMPLES / name)))
    assert (pause, interrupt) == (BargeInEvent.PAUSE, BargeInEvent.INTERRUPT)
    assert 0.0 < paused_s - (1.0 + SPEECH_S[name][0]) < 0.15
    assert 0.45 < interrupted_s - paused_s < 0.65


@pytest.mark.needs("flite")
@pytest.mark.parametrize("word", ["uh huh", "stop"])
def test_a_short_sound_pauses_it_until_it_is_decided_what_it_was(word: str) -> None:
    events = [event for _, event in barged_in(with_silence(flite_says(word).samples))]
    assert events == [BargeInEvent.PAUSE, BargeInEvent.SHORT_SOUND]


def test_a_cough_does_not_interrupt_it() -> None:
    assert BargeInEvent.INTERRUPT not in [event for _, event in barged_in(with_silence(cough()))]
