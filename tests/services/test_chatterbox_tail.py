"""What comes after Chatterbox's last word is cut, and never a word."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.sounds import Samples
from services.tts.chatterbox_tail import Tail
from services.tts.preparation import trimmed
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, resample
from shared.settings import Settings
from tests.support.flite_speech import flite_says
from tests.support.sounds import tone

RATE_HZ = 24_000
NOISE_LIKE_SPEECH_S = 0.7
"""Loud noise behind a word is taken for its end for so long at most."""

LAST_SOUNDS = ["Yes.", "Stop.", "I like both.", "This is the wish.", "My name is Jeff.", "Perhaps so."]


def spoken(text: str) -> Samples:
    """Speech to its last sound."""
    return ended(resample(flite_says(text), RATE_HZ).samples)


def ended(speech: Samples) -> Samples:
    speech = trimmed(speech, RATE_HZ)
    level = np.abs(speech)
    return speech[: np.flatnonzero(level > 0.01 * level.max())[-1] + 1]


def silence(duration_s: float) -> Samples:
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


def hiss(duration_s: float, peak: float) -> Samples:
    return (peak * np.random.default_rng(0).uniform(-1, 1, round(duration_s * RATE_HZ))).astype(np.float32)


def breath(duration_s: float, peak: float) -> Samples:
    """Noise below 3 kHz that swells and fades."""
    noise = np.convolve(hiss(duration_s, 1.0), np.ones(8) / 8, "same") * np.hanning(silence(duration_s).size)
    swelling: Samples = (peak * noise / np.abs(noise).max()).astype(np.float32)
    return swelling


def whistle(duration_s: float, peak: float) -> Samples:
    return tone(4900, duration_s, RATE_HZ, peak)


def cut(*parts: Samples) -> Samples:
    return Tail().cut(Pcm(np.concatenate(parts).clip(-1, 1), RATE_HZ)).samples


def kept_after(speech: Samples, heard: Samples) -> float:
    """How many seconds of sound follow the speech, all of which must be there."""
    assert np.abs(heard[: speech.size] - speech).max() < 1e-6, "words were cut"
    audible = np.flatnonzero(np.abs(heard) > 0.001)
    return float(max(0, audible[-1] + 1 - speech.size) / RATE_HZ)


@pytest.mark.needs("flite")
@pytest.mark.parametrize("text", LAST_SOUNDS)
def test_speech_alone_stays_to_its_last_sample(text: str) -> None:
    speech = spoken(text)
    assert kept_after(speech, cut(speech)) == 0.0
    assert kept_after(speech, cut(speech, silence(3.0))) == 0.0


@pytest.mark.needs("flite")
@pytest.mark.parametrize("noise", [hiss, breath, whistle])
@pytest.mark.parametrize("text", LAST_SOUNDS[:3])
def test_noise_after_a_pause_is_cut(text: str, noise: Callable[[float, float], Samples]) -> None:
    speech = spoken(text)
    heard = cut(speech, silence(0.3), noise(2.0, 0.1))
    assert kept_after(speech, heard) < 0.3 + NOISE_LIKE_SPEECH_S / 2
    assert heard.size - speech.size < 0.8 * RATE_HZ


@pytest.mark.needs("flite")
@pytest.mark.parametrize("noise", [hiss, breath, whistle])
def test_noise_right_behind_the_last_word_is_cut_short(noise: Callable[[float, float], Samples]) -> None:
    speech = spoken("What is two plus two?")
    assert kept_after(speech, cut(speech, noise(4.0, 0.05))) < NOISE_LIKE_SPEECH_S


@pytest.mark.needs("flite")
def test_a_word_after_a_long_pause_is_no_noise() -> None:
    whole = np.concatenate([spoken("Wait."), silence(1.5), spoken("Yes.")])
    assert kept_after(whole, cut(whole, silence(0.4), hiss(1.0, 0.05))) < 0.35


def test_what_is_no_speech_at_all_loses_its_silence_only() -> None:
    sound = hiss(1.0, 0.3)
    assert kept_after(sound, cut(sound, silence(2.0))) == 0.0


@pytest.mark.parametrize("samples", [silence(0.0), silence(1.0)])
def test_of_silence_nothing_is_left(samples: Samples) -> None:
    assert cut(samples).size == 0


@pytest.mark.parametrize("name", ["jfk.flac", "bear-or-shark.mp3"])
def test_of_recorded_speech_no_word_is_cut_wherever_it_ends(recordings: Path, name: str) -> None:
    recorded = resample(decode_audio((recordings / name).read_bytes(), Settings()), RATE_HZ).samples
    whole = ended(recorded)
    assert kept_after(whole, cut(whole)) == 0.0
    for pause in pauses(whole):
        words, until = whole[: pause.start], whole[: (pause.start + pause.stop) // 2]
        assert kept_after(words, cut(until, silence(0.3), breath(1.0, 0.05))) < NOISE_LIKE_SPEECH_S


def pauses(speech: Samples) -> list[range]:
    """Where the speaker is quiet for 0.15 s or longer, in samples."""
    frame = RATE_HZ // 100
    levels = np.abs(speech[: speech.size // frame * frame]).reshape(-1, frame).max(axis=1)
    changes = np.flatnonzero(np.diff(levels < 0.05 * levels.max())) + 1
    quiet = [(start, end) for start, end in pairwise(changes) if levels[start] < 0.05 * levels.max()]
    return [range(start * frame, end * frame) for start, end in quiet if end - start >= 15]
