"""What the microphone heard last: where an utterance's first sounds are when its speech is detected."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from services.host.vad_gate import WINDOW_SAMPLES


class RecentAudio:
    """The windows of the last `duration_s` and one more, found again by their place in the recording."""

    def __init__(self, duration_s: float, sample_rate_hz: int) -> None:
        num_windows = round(duration_s * sample_rate_hz / WINDOW_SAMPLES) + 1
        self._windows: deque[NDArray[np.float32]] = deque(maxlen=num_windows)
        self._position = 0

    @property
    def position(self) -> int:
        """How many samples the microphone has delivered."""
        return self._position

    def append(self, window: NDArray[np.float32]) -> None:
        """The next window: float32 of shape (512,)."""
        self._windows.append(window)
        self._position += window.size

    def since(self, start_sample: int) -> NDArray[np.float32]:
        """Everything from that sample on: float32, 1-D. Raises ValueError if it is no longer there."""
        first = self._position - len(self._windows) * WINDOW_SAMPLES
        if not first <= start_sample <= self._position:
            raise ValueError(f"Sample {start_sample} is not between {first} and {self._position}.")
        return np.concatenate([*self._windows, np.empty(0, np.float32)])[start_sample - first :]
