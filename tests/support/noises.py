"""Noise for tests at 16 kHz, recordings, and speech in noise."""

import numpy as np

from bench.sounds import HZ, Samples, decibels


def white_noise(duration_s: float, db: float, seed: int = 0) -> Samples:
    """Gaussian, at this level below full scale."""
    noise = np.random.default_rng(seed).standard_normal(round(duration_s * HZ)).astype(np.float32)
    return (noise * decibels(db)).clip(-1, 1)


def clicks() -> Samples:
    samples = np.zeros(2 * HZ, np.float32)
    samples[:: HZ // 4] = 1.0
    return samples


def knocks() -> Samples:
    """Short bursts of noise, like keys of a keyboard."""
    one = white_noise(0.1, -10) * np.exp(-np.arange(HZ // 10) / 150).astype(np.float32)
    return np.tile(np.pad(one, (0, HZ // 10)), 8)


def cough(seed: int = 0) -> Samples:
    """Two bursts like coughs: breath below 1.5 kHz that breaks out at once, then a little voice."""
    time_s = np.arange(round(0.3 * HZ)) / HZ
    breath = np.fft.rfft(np.random.default_rng(seed).standard_normal(time_s.size))
    breath /= 1 + (np.fft.rfftfreq(time_s.size, 1 / HZ) / 1_500) ** 2
    burst = np.fft.irfft(breath, time_s.size) * np.exp(-time_s / 0.07)
    voice = np.sign(np.sin(2 * np.pi * (180 - 100 * time_s) * time_s)) * np.exp(
        -(((time_s - 0.2) / 0.05) ** 2)
    )
    one = 0.7 * burst / np.abs(burst).max() + 0.2 * voice
    return np.tile(np.pad(one, (0, HZ // 5)), 2).astype(np.float32)
