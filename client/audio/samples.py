"""Streams of samples: a queue of them, and a resampler."""

import numpy as np
import soxr

from conversation.audio import Samples

_NO_SAMPLES = np.empty(0, np.float32)


class SampleQueue:
    """Samples on their way, put in and taken out in blocks of any size. Not safe to share between threads."""

    def __init__(self) -> None:
        self._samples = _NO_SAMPLES

    def __len__(self) -> int:
        return self._samples.size

    def append(self, samples: Samples) -> None:
        """Put them behind the others."""
        self._samples = np.concatenate((self._samples, samples)) if self._samples.size else samples

    def take(self, count: int) -> Samples:
        """Take out the next `count` samples, or all if there are fewer; the array is the caller's own."""
        taken = self.peek(0, max(0, count))
        self._samples = self._samples[taken.size :]
        return taken

    def peek(self, start: int, count: int) -> Samples:
        """A copy of up to `count` samples from `start` on; the queue keeps them."""
        return self._samples[start : start + count].copy()


class StreamResampler:
    """Resamples a stream block by block, without seams, by soxr at high quality.

    Up to 12 ms of the audio (soxr 1.1, 48 to 16 kHz) are held back for the filter until more comes. At
    equal rates the samples pass unchanged.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz = from_hz
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")

    def convert(self, samples: Samples) -> Samples:
        """Resample the next block; the result may be empty."""
        return self._converted(samples, last=False)

    def finish(self) -> Samples:
        """What was held back. The stream has ended, and nothing can follow."""
        return self._converted(_NO_SAMPLES, last=True)

    def _converted(self, samples: Samples, *, last: bool) -> Samples:
        if self._stream is None:
            return samples
        converted: Samples = self._stream.resample_chunk(samples, last=last)
        return converted.clip(-1.0, 1.0)  # filters overshoot
