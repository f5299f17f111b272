"""What of a client's audio may be speech: what is louder than the room has been."""

from statistics import median

import numpy as np

from conversation.audio import Samples

LOUDER = 1.5
"""So much louder than the room, 3.5 dB, may be speech."""
HELD_S = 0.4
"""So much that is no louder is kept for what may follow, and then let through as noise."""
QUIETEST, USUAL = 0.001, 0.005
"""No room is taken for quieter, -60 dB; and for so loud, -46 dB, before anything of it has been heard."""
GROWTH = 2.0
"""At most so many times as loud the room becomes in a second; quieter, at once. Faster, the beginning of
speech would be taken for the room before the VAD has found it."""


class NoiseGate:
    """Tells what may be speech from the noise of a room, so that the VAD need not listen to all of it.

    How loud a room is is the median of its pieces' peaks. Nothing is lost: noise is let through as such, and
    where something louder comes within HELD_S, with it, as the VAD finds speech sooner after a little noise.

    It is not only cheaper. After long noise the VAD finds speech late, or not at all, and with the gate it
    has heard little of it. Measured by `python -m bench.noise_gate`: see docs/benchmarks.md.

    Args:
        sample_rate_hz: of the samples.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate_hz = sample_rate_hz
        self._held: list[Samples] = []
        self._peaks: list[float] = []
        self._room = USUAL
        self.held_s = 0.0
        """How much is held back."""

    def process(self, samples: Samples, *, opened: bool) -> tuple[Samples, bool]:
        """What is let through with the next samples, within ±1, and whether it may be speech: all that is
        held back, or nothing. While it is `opened`, everything is, and may be."""
        if not samples.size:
            return samples, False
        self._held.append(samples)
        self._peaks.append(float(np.abs(samples).max()))
        self.held_s += samples.size / self._rate_hz
        may_be_speech = opened or self._peaks[-1] > LOUDER * self._room
        if not may_be_speech and self.held_s < HELD_S:
            return np.empty(0, np.float32), False
        self._room = min(max(median(self._peaks), QUIETEST), GROWTH ** min(1.0, self.held_s) * self._room)
        passed = np.concatenate(self._held)
        self._held, self._peaks, self.held_s = [], [], 0.0
        return passed, may_be_speech
