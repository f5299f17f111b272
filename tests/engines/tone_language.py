"""A language that a model of 66,000 parameters can learn: each word is a pure tone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ

WORDS_HZ = {
    "Hello": 300,
    "how": 430,
    "are": 600,
    "you": 820,
    "today": 1100,
    "stop": 1450,
    "yes": 1900,
    "no": 2500,
}

SPEECH_LEVEL = 0.7
"""The peak of speech under tones, of theirs. So the speech gate opened to all of 40 utterances, and the model
heard every word of the tones; at 0.18 the gate opened to two in three."""


def spoken(words: Sequence[str], chance: np.random.Generator) -> Pcm:
    """The words as tones of 0.2 to 0.4 s with pauses between them, in a little noise."""
    parts = [_silence(0.05, 0.5, chance)]
    for word in words:
        parts += [_tone(WORDS_HZ[word], chance), _silence(0.08, 0.25, chance)]
    sound = np.concatenate([*parts, _silence(0.1, 0.6, chance)])
    noise = 0.003 * chance.uniform() * chance.standard_normal(sound.size)
    return Pcm((sound + noise).astype(np.float32), ASR_SAMPLE_RATE_HZ)


def over_speech(tones: Pcm, speech: Pcm) -> Pcm:
    """The tones with real speech under them, at SPEECH_LEVEL.

    Tones alone are seldom speech to voice activity detection.
    """
    assert tones.sample_rate_hz == speech.sample_rate_hz
    sound = np.zeros(max(tones.num_samples, speech.num_samples), np.float32)
    sound[: tones.num_samples] = tones.samples
    level = SPEECH_LEVEL * np.abs(tones.samples).max() / np.abs(speech.samples).max()
    sound[: speech.num_samples] += level * speech.samples
    return Pcm(sound.clip(-1.0, 1.0), tones.sample_rate_hz)


def any_words(chance: np.random.Generator, at_least: int = 1, at_most: int = 5) -> list[str]:
    """Words by chance."""
    return [str(word) for word in chance.choice(list(WORDS_HZ), chance.integers(at_least, at_most + 1))]


def _tone(frequency_hz: float, chance: np.random.Generator) -> NDArray[np.float64]:
    time_s = np.arange(int(chance.uniform(0.2, 0.4) * ASR_SAMPLE_RATE_HZ)) / ASR_SAMPLE_RATE_HZ
    frequency_hz *= chance.uniform(0.99, 1.01)
    tone = chance.uniform(0.1, 0.5) * np.sin(2 * np.pi * frequency_hz * time_s + chance.uniform(0, 2 * np.pi))
    ramp = np.minimum(1.0, np.arange(time_s.size) / 160)
    return np.asarray(tone * ramp * ramp[::-1])


def _silence(least_s: float, most_s: float, chance: np.random.Generator) -> NDArray[np.float64]:
    return np.zeros(int(chance.uniform(least_s, most_s) * ASR_SAMPLE_RATE_HZ))
