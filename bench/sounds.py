"""Sound for benches and tests: spoken questions and recordings of them, something like speech, noise."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, resample
from shared.settings import Settings

EXAMPLES = Path(__file__).parents[1] / "examples"
HZ = 16_000

Samples = NDArray[np.float32]
Line = tuple[float, Pcm]
"""What is said from that second on."""


def example(name: str) -> Pcm:
    """A question of examples/, without the silence around it."""
    return without_silence(Pcm(recorded(EXAMPLES / f"{name}.mp3"), HZ))


def without_silence(pcm: Pcm) -> Pcm:
    """Without what is silent before and after it, at 16 kHz."""
    samples = resample(pcm, HZ).samples
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    return Pcm(samples[loud[0] : loud[-1]].copy(), HZ)


def recorded(path: Path) -> Samples:
    """What is in an audio file."""
    return resample(decode_audio(path.read_bytes(), Settings(max_audio_s=200)), HZ).samples


def recording(lines: Iterable[Line], duration_s: float, noise: float = 0.0005) -> Pcm:
    """One side of a conversation, over a little noise."""
    samples = np.random.default_rng(0).normal(0, noise, round(duration_s * HZ)).astype(np.float32)
    for at_s, pcm in lines:
        start = round(at_s * HZ)
        samples[start : start + pcm.num_samples] += pcm.samples
    return Pcm(samples.clip(-1, 1), HZ)


def voice(num_samples: int, sample_rate_hz: int, seed: int = 0) -> Pcm:
    """Something like speech: harmonics of a gliding pitch, below 3 kHz, in syllables."""
    chance = np.random.default_rng(seed)
    time_s = np.arange(num_samples) / sample_rate_hz
    pitch_hz = chance.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * chance.uniform(0.5, 2) * time_s))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate_hz
    harmonics = range(1, 13)
    sound = sum(chance.uniform(0.2, 1) / k * np.sin(k * phase + chance.uniform(0, 6)) for k in harmonics)
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time_s + chance.uniform(0, 6))
    return Pcm((0.2 * sound * syllables).astype(np.float32), sample_rate_hz)


def pink_noise(duration_s: float, db: float, seed: int = 0) -> Samples:
    """Of equal power in every octave, at this level below full scale."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(round(duration_s * HZ)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(spectrum.size).clip(1)), round(duration_s * HZ))
    levelled: Samples = (noise / noise.std() * decibels(db)).astype(np.float32)
    return levelled.clip(-1, 1)


def with_noise(speech: Samples, noise: Samples, snr_db: float) -> Samples:
    """Speech over noise, by the power of the speech where it is not silent."""
    noise = np.resize(noise, speech.shape)
    loud = speech[np.abs(speech) > 0.02 * np.abs(speech).max()]
    gain = np.sqrt(np.mean(loud**2) / np.mean(noise**2)) / decibels(snr_db)
    mixed: Samples = (speech + gain * noise).astype(np.float32)
    return mixed / np.float32(max(1.0, np.abs(mixed).max()))


def decibels(db: float) -> np.float32:
    """The factor of a level."""
    return np.float32(10 ** (db / 20))
