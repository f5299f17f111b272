from pathlib import Path

import numpy as np
import pytest

from bench.sounds import HZ, Samples, decibels, recorded, with_noise
from services.host.vad_gate import VadGate
from shared.audio.pcm import Pcm
from tests.support.flite_speech import flite_says
from tests.support.noises import clicks, knocks, white_noise
from tests.support.sounds import tone


@pytest.fixture(scope="module")
def gate() -> VadGate:
    return VadGate()


def hum(mains_hz: float) -> Samples:
    """Mains hum with overtones so strong that the detector alone takes its beginning for a vowel."""
    return sum((tone(mains_hz * n, 1.5, peak=0.05) for n in range(1, 8)), start=np.zeros(1, np.float32))


NO_SPEECH = {
    "digital silence": np.zeros(2 * HZ, np.float32),
    "the last bit's noise": (np.random.default_rng(0).integers(-1, 2, HZ) / 32_768).astype(np.float32),
    "a constant offset": np.full(HZ, 0.3, np.float32),
    "white noise at -60 dB": white_noise(1.5, -60),
    "white noise at -40 dB": white_noise(1.5, -40),
    "white noise at -20 dB": white_noise(1.5, -20),
    "white noise at -6 dB": white_noise(1.5, -6),
    "50 Hz hum": hum(50),
    "60 Hz hum": hum(60),
    "60 Hz hum with clicks": (hum(60) + 0.5 * clicks()[: round(1.5 * HZ)]).astype(np.float32),
    "a tone": tone(440, 1.5),
    "clicks": clicks(),
    "knocks": knocks(),
    "one sample": np.ones(1, np.float32),
    "nothing": np.empty(0, np.float32),
}


@pytest.mark.parametrize("name", NO_SPEECH)
def test_noise_is_no_speech(gate: VadGate, name: str) -> None:
    assert not gate.has_speech(Pcm(NO_SPEECH[name], HZ))


@pytest.mark.parametrize("gain_db", [0, 20])
def test_office_ambience_is_no_speech(gate: VadGate, recordings: Path, gain_db: float) -> None:
    ambience = recorded(recordings / "office-ambience.mp3")[: 8 * HZ]
    assert not gate.has_speech(Pcm((ambience * decibels(gain_db)).clip(-1, 1), HZ))


@pytest.mark.parametrize("name", ["jfk.flac", "bear-or-shark.mp3"])
def test_recorded_speech_is_speech_however_quiet(gate: VadGate, recordings: Path, name: str) -> None:
    speech = recorded(recordings / name)
    assert gate.has_speech(Pcm(speech, HZ))
    assert gate.has_speech(Pcm(speech * decibels(-30), HZ))


@pytest.mark.parametrize("snr_db", [10, 5])
def test_speech_in_an_office_is_speech(gate: VadGate, recordings: Path, snr_db: float) -> None:
    speech = recorded(recordings / "bear-or-shark.mp3")
    ambience = recorded(recordings / "office-ambience.mp3")
    assert gate.has_speech(Pcm(with_noise(speech, ambience, snr_db), HZ))


@pytest.mark.needs("flite")
@pytest.mark.parametrize("word", ["yes", "no", "stop", "two"])
def test_one_short_word_is_speech_however_quiet(gate: VadGate, word: str) -> None:
    speech = flite_says(word).samples
    assert gate.has_speech(Pcm(speech, HZ))
    assert gate.has_speech(Pcm(speech * decibels(-30), HZ))


@pytest.mark.needs("flite")
@pytest.mark.parametrize("snr_db", [10, 5])
def test_a_question_in_white_noise_is_speech(gate: VadGate, snr_db: float) -> None:
    speech = flite_says("What is two plus two?").samples
    assert gate.has_speech(Pcm(with_noise(speech, white_noise(1, -20), snr_db), HZ))


@pytest.mark.needs("flite")
def test_a_word_between_long_silences_and_clicks_is_speech(gate: VadGate) -> None:
    silence = np.zeros(20 * HZ, np.float32)
    assert gate.has_speech(Pcm(np.concatenate([clicks(), silence, flite_says("yes").samples, silence]), HZ))


@pytest.mark.needs("flite")
def test_what_was_heard_before_makes_no_difference(gate: VadGate) -> None:
    noise, speech = Pcm(white_noise(0.5, -20), HZ), flite_says("yes")
    assert [gate.has_speech(pcm) for pcm in (speech, noise, speech, noise)] == [True, False, True, False]
