"""The gate before speech recognition: does this audio contain speech?

ASR models transcribe silence and noise into words, so they get neither.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from shared.audio.pcm import Pcm
from shared.audio.vad import FRAME_SAMPLES, VoiceActivityDetector

# Chosen on 611 sounds: words and phrases of four flite voices and two recordings, down to -45 dB and at 5
# and 10 dB above white and office noise, against noise of five colours, office ambience, clicks, tones and
# hums with random overtones. One of the 387 that are no speech passed (a rich 120 Hz buzz that begins in
# mid-recording), and one of the 224 that are was missed (a word at -45 dB).
FRAMES = 5
MEAN_PROBABILITY = 0.65
MIN_LEVEL_CHANGE_DB = 1.0
"""Standard deviation over the frames. The detector takes some hums for vowels, but a hum keeps its level
to 0.2 dB; speech, also in noise, comes to 1.9 dB and more."""
LOUD_LEVEL = 0.25
MAX_GAIN = 100.0
QUIET_BELOW_LOUD = 0.01


class VadGate:
    """Voice activity detection over a whole recording, stopped at the first speech.

    Not safe to share: each thread needs its own.
    """

    def __init__(self) -> None:
        self._detector = VoiceActivityDetector()

    def has_speech(self, pcm: Pcm) -> bool:
        """Whether 16 kHz audio contains about 0.16 s of speech or more."""
        frames = _audible_frames(amplified(pcm.samples))
        levels_db = 20 * np.log10(np.sqrt(np.mean(frames**2, axis=1)))
        recent: deque[float] = deque(maxlen=FRAMES)
        self._detector.reset()
        for end, frame in enumerate(frames, start=1):
            recent.append(self._detector.probability(frame))
            if sum(recent) >= FRAMES * MEAN_PROBABILITY and _changes(levels_db[max(0, end - FRAMES) : end]):
                return True
        return False


def amplified(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Amplify quiet audio to the usual level of speech; voice activity detection misses speech at -30 dB.

    The level is what 0.5 % of the samples exceed, so that clicks do not count.
    """
    if not samples.size:
        return samples
    loud = float(np.quantile(np.abs(samples), 0.995))
    gain = min(MAX_GAIN, max(1.0, LOUD_LEVEL / loud)) if loud else 1.0
    return (samples * np.float32(gain)).clip(-1.0, 1.0)


def _changes(levels_db: NDArray[np.float32]) -> bool:
    return float(np.std(levels_db)) > MIN_LEVEL_CHANGE_DB


def _audible_frames(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Frames of shape (n, 512), without those far below the loudest: they cost time and decide nothing."""
    padded = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))
    frames = padded.reshape(-1, FRAME_SAMPLES)
    peaks = np.abs(frames).max(axis=1)
    audible: NDArray[np.bool_] = peaks > QUIET_BELOW_LOUD * peaks.max(initial=0.0)
    return frames[audible]
