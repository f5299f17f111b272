"""When a sample was heard, told from when the windows of samples were taken."""

from collections import deque

from services.host.vad_gate import WINDOW_SAMPLES
from shared.engines import ASR_SAMPLE_RATE_HZ

REMEMBERED_S = 5.0
"""A device's clock that is off by 100 ppm is off by 0.5 ms in this time."""


class SampleClock:
    """Goes by the windows that were taken soonest: whoever is busy takes one late, and nobody takes one
    early. What it tells is therefore late by no more than the least of the last REMEMBERED_S."""

    def __init__(self) -> None:
        self._first_sample_s: deque[float] = deque(
            maxlen=round(REMEMBERED_S * ASR_SAMPLE_RATE_HZ / WINDOW_SAMPLES)
        )

    def taken(self, position: int, at_s: float) -> None:
        """So many samples at 16 kHz had been heard when the last window was taken."""
        self._first_sample_s.append(at_s - position / ASR_SAMPLE_RATE_HZ)

    def moment(self, sample: int) -> float:
        """When that sample was heard, in seconds. Raises ValueError before anything was taken."""
        return min(self._first_sample_s) + sample / ASR_SAMPLE_RATE_HZ
