"""A stream of sound at another sample rate."""

import numpy as np
import soxr

from client.audio.sample_queue import Samples


class StreamResampler:
    """Converts a stream piece by piece, as if it had come in one, by soxr at high quality.

    Up to 12 ms of the sound (soxr 1.1, 48 to 16 kHz) are held back for the filter until more comes. At
    equal rates it hands on what it gets.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz = from_hz
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")

    def convert(self, samples: Samples) -> Samples:
        """What can be told of the stream by now; may be empty."""
        return self._converted(samples, last=False)

    def finish(self) -> Samples:
        """What was held back. The stream has ended, and nothing can follow."""
        return self._converted(np.empty(0, np.float32), last=True)

    def _converted(self, samples: Samples, *, last: bool) -> Samples:
        if self._stream is None:
            return samples
        converted: Samples = self._stream.resample_chunk(samples, last=last)
        return converted.clip(-1.0, 1.0)  # filters overshoot
