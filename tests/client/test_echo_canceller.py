"""The echo canceller, judged by what matters: whether the listener takes its output for speech.

The speaker's audio comes back to the microphone at -6 dB after 100 ms, with noise at -65 dB.
"""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.sounds import Samples
from client.audio.echo_canceller import EchoCanceller
from client.audio.playback_buffer import PlaybackBuffer
from conversation.audio import Frame
from conversation.barge_in import BargeInEvent
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, resample
from shared.audio.vad import FRAME_S, FRAME_SAMPLES
from shared.errors import Misconfigured
from shared.settings import Settings
from tests.support.flite_speech import flite_says
from tests.support.hearing import Hearing
from tests.support.sounds import likeness

pytestmark = pytest.mark.slow

HZ = 16_000
DELAY_FRAMES = 3
"""96 ms; the canceller's own latency and the frame's length come on top."""
SILENCE = np.zeros(FRAME_SAMPLES, np.float32)

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
    """A loudspeaker, a microphone that hears it, and a person who may speak; frame by frame."""

    canceller: EchoCanceller = field(default_factory=EchoCanceller)
    burst: int = 1
    """How many frames the loudspeaker takes at a time."""

    def __post_init__(self) -> None:
        self.listener = Hearing(Settings(), lambda: len(self.clean) * FRAME_S)
        self._chance = np.random.default_rng(0)
        self._in_the_air = [SILENCE] * DELAY_FRAMES
        self._taken: list[Samples] = []
        self.heard: list[Samples] = []
        self.clean: list[Samples] = []

    def live(self, played: Samples, spoken: Samples) -> list[BargeInEvent]:
        """A frame of time; what follows from it for the reply."""
        self._taken.append(played)
        if len(self._taken) == self.burst:
            self.canceller.far(np.concatenate(self._taken))
            self._taken.clear()
        self._in_the_air.append(played)
        noise = self._chance.standard_normal(FRAME_SAMPLES) * 10 ** (-65 / 20)
        heard = 10 ** (-6 / 20) * self._in_the_air.pop(0) + spoken + noise
        self.heard.append(heard.astype(np.float32).clip(-1, 1))
        self.clean.append(self.canceller.near(self.heard[-1]))
        events = self.listener.hear(Frame(self.clean[-1]))
        return [event for event in events if isinstance(event, BargeInEvent)]

    def play(self, reply: str) -> list[BargeInEvent]:
        """A reply that nobody speaks over."""
        self.listener.reply_audible()
        events = [self.live(frame, SILENCE) for frame in frames(flite_says(reply).samples, silence_s=0.2)]
        self.listener.turn_ended()
        return [event for some in events for event in some]


RoomWith = Callable[..., Room]


@pytest.fixture
def room_with() -> Iterator[RoomWith]:
    """Make a room."""
    rooms: list[Room] = []

    def make(**options: Any) -> Room:
        rooms.append(Room(**options))
        return rooms[-1]

    yield make
    for room in rooms:
        room.listener.close()


def frames(samples: Samples, silence_s: float = 0.0) -> list[Samples]:
    samples = np.pad(samples, (0, round(silence_s * HZ)))
    return list(np.pad(samples, (0, -samples.size % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES))


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def at_level(speech: Samples, db: float) -> Samples:
    """By the power of the speech where it is not silent."""
    loud = speech[np.abs(speech) > 0.02 * np.abs(speech).max()]
    return (speech * 10 ** ((db - level_db(loud)) / 20)).astype(np.float32)


@pytest.mark.needs("flite")
def test_a_loudspeaker_that_takes_its_audio_in_bursts_changes_nothing(room_with: RoomWith) -> None:
    room = room_with(burst=3)
    assert [room.play(reply) for reply in REPLIES[:5]] == [[]] * 5


@pytest.mark.needs("flite")
def test_replies_do_not_pause_themselves(room_with: RoomWith) -> None:
    """Measured with twenty: echo at -27 dB, residual at -79 dB and at worst -68 dB, no probability above
    0.03."""
    room = room_with()
    residual_db = []
    for reply in REPLIES[:8]:
        before = len(room.clean)
        assert room.play(reply) == [], reply
        residual_db.append(level_db(np.concatenate(room.clean[before:])))
        assert level_db(np.concatenate(room.heard[before:])) > -35
    assert max(residual_db) < -60


@pytest.mark.needs("flite")
def test_without_echo_cancellation_replies_pause_themselves_and_noise_is_suppressed(
    room_with: RoomWith,
) -> None:
    room = room_with(canceller=EchoCanceller(cancel_echo=False))
    assert BargeInEvent.PAUSE in room.play(REPLIES[0])
    for _ in range(100):
        room.live(SILENCE, SILENCE)
    assert level_db(np.concatenate(room.heard[-50:])) == pytest.approx(-65, abs=1)
    assert level_db(np.concatenate(room.clean[-50:])) < -75


@pytest.mark.needs("flite")
def test_without_noise_suppression_the_echo_is_cancelled_and_noise_stays(room_with: RoomWith) -> None:
    room = room_with(canceller=EchoCanceller(suppress_noise=False))
    assert [room.play(reply) for reply in REPLIES[:5]] == [[]] * 5
    for _ in range(100):
        room.live(SILENCE, SILENCE)
    assert level_db(np.concatenate(room.clean[-50:])) > -70


@pytest.mark.needs("flite")
def test_speech_over_a_reply_interrupts_it(room_with: RoomWith, recordings: Path) -> None:
    """Speech at -26 dB over an echo of -25 dB; the reply is paused at the first frame taken for speech."""
    room = room_with()
    room.play(REPLIES[0])
    speech = [at_level(speech, -26) for speech in interruptions(recordings)]
    assert len(speech) == 10
    assert sum(interrupts(one, room) for one in speech) >= 9


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
    reply = PlaybackBuffer(HZ)
    reply.append(Pcm(flite_says(LONG_REPLY).samples, HZ))
    room.listener.reply_audible()
    for _ in range(20):
        assert room.live(reply.read(FRAME_SAMPLES), SILENCE) == []
    for spoken in frames(speech, silence_s=0.2):
        events = room.live(reply.read(FRAME_SAMPLES), spoken)
        if BargeInEvent.INTERRUPT in events:
            break
        if BargeInEvent.PAUSE in events:
            reply.pause()
        if BargeInEvent.RESUME in events:
            reply.resume()
    for _ in range(40):  # what is said after it is no part of the next attempt
        room.live(SILENCE, SILENCE)
    room.listener.turn_ended()
    return BargeInEvent.INTERRUPT in events


def test_what_is_said_comes_out_as_late_as_promised() -> None:
    canceller = EchoCanceller()
    noise = (0.05 * np.random.default_rng(1).standard_normal(100 * FRAME_SAMPLES)).astype(np.float32)
    out = np.empty(0, np.float32)
    for frame in frames(noise):
        canceller.far(SILENCE)
        out = np.append(out, canceller.near(frame))
    lags = np.correlate(out, noise[: -2 * canceller.LATENCY_SAMPLES], "valid")
    assert np.argmax(lags) == canceller.LATENCY_SAMPLES
    late = out[canceller.LATENCY_SAMPLES :]
    assert likeness(late, noise[: late.size]) > 0.9


def test_of_what_no_microphone_has_recorded_only_a_second_is_kept() -> None:
    canceller = EchoCanceller()
    tracemalloc.start()
    for _ in range(3_000):
        canceller.far(SILENCE.copy())
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 2 * 4 * HZ


@pytest.mark.needs("flite")
def test_what_the_microphone_lost_is_left_out_within_twenty_seconds(room_with: RoomWith) -> None:
    room = room_with()
    assert room.play(REPLIES[0]) == []
    room.canceller.far(np.zeros(HZ // 2, np.float32))
    assert room.play(LONG_REPLY), "the echo comes before its cause"
    for _ in range(20 * HZ // FRAME_SAMPLES):
        room.live(SILENCE, SILENCE)
    for reply in REPLIES[1:4]:  # it has to learn the echo again
        room.play(reply)
    assert [room.play(reply) for reply in REPLIES[4:7]] == [[]] * 3


def test_anything_but_a_frame_is_an_error() -> None:
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
