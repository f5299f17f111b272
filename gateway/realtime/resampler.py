"""From a client's rate to the engines' 16 kHz, at once: what comes in goes out, 1 to 2 ms late."""

from functools import cache
from math import ceil

import numpy as np

from conversation.audio import Samples
from shared.engines import ASR_SAMPLE_RATE_HZ

STOPBAND_DB = 60.0
_CUTOFF, _TRANSITION = 0.95, 0.25
"""Of the lower rate's half: from 24 kHz flat to 6.6 kHz; nothing is left that would alias below 7.4 kHz."""
_OUT = ASR_SAMPLE_RATE_HZ // 1000  # samples of a millisecond
_MS_AT_ONCE = 256
"""A product of more than some 0.6 s goes to BLAS's threads, which then spin for 0.1 s (measured)."""


class LowDelayResampler:
    """Resamples a stream of whole milliseconds, so that n of them come out as soon as n have come in.

    soxr keeps back 15 ms of a stream from 24 kHz (21 ms at its high quality; measured), and the end of a turn
    waits for them. A linear-phase filter of 60 dB needs 0.9 ms, and 1.8 ms from 8 kHz. It is as quick: 9 µs
    for 40 ms.

    Args:
        sample_rate_hz: 8,000 or 24,000.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._in = sample_rate_hz // 1000
        self._filters = _filters(self._in)
        self._before: Samples = np.zeros(self._filters.shape[0] - self._in, np.float32)

    def resampled(self, samples: Samples) -> Samples:
        """The next samples, within ±1, at 16 kHz; what is left of a millisecond waits for the rest."""
        samples = np.concatenate([self._before, samples])
        whole = (samples.size - self._filters.shape[0]) // self._in + 1
        self._before = samples[whole * self._in :]
        if whole <= 0:
            return np.empty(0, np.float32)
        width, step = self._filters.shape[0], samples.itemsize
        windows = np.ndarray((whole, width), np.float32, samples, strides=(self._in * step, step))
        pieces = [windows[at : at + _MS_AT_ONCE] @ self._filters for at in range(0, whole, _MS_AT_ONCE)]
        resampled: Samples = np.concatenate(pieces).reshape(-1)
        return resampled.clip(-1.0, 1.0, out=resampled)  # filters overshoot


@cache
def _filters(samples_in: int) -> Samples:
    """What each of a millisecond's 16 samples (columns) takes of the newest samples that have come in (rows,
    the newest last): the phases of a low-pass designed at a rate that both are whole parts of."""
    up, down = 2, 2 * samples_in // _OUT
    nyquist = min(samples_in, _OUT) / 2 / (samples_in * up)  # of the lower rate, in cycles a sample
    taps = ceil((STOPBAND_DB - 7.95) / 14.36 / (_TRANSITION * nyquist))  # Kaiser's formulas
    window = np.kaiser(taps, 0.1102 * (STOPBAND_DB - 8.7))
    at = np.arange(taps) - (taps - 1) / 2
    low_pass = np.sinc(2 * _CUTOFF * nyquist * at) * window
    low_pass *= up / low_pass.sum()
    rows = samples_in + taps // up
    # Of the output sample that is `column` steps of `down` into the millisecond, and an input sample:
    tap = np.arange(_OUT) * down - (np.arange(rows)[:, np.newaxis] - (rows - samples_in)) * up
    within = (tap >= 0) & (tap < taps)
    return np.where(within, low_pass[np.where(within, tap, 0)], 0.0).astype(np.float32)
