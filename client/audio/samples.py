"""Streams of samples: a queue of them, and a resampler."""

from collections import deque

import numpy as np
import soxr

from conversation.audio import Samples

_NO_SAMPLES = np.empty(0, np.float32)


class SampleQueue:
    """Samples on their way, put in and taken out in blocks of any size. Not safe to share between threads."""

    def __init__(self) -> None:
        self._blocks: deque[Samples] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, samples: Samples) -> None:
        """Put them behind the others; they are not copied."""
        if samples.size:
            self._blocks.append(samples)
            self._size += samples.size

    def take(self, count: int) -> Samples:
        """Take out the next `count` samples, or all if there are fewer; the array is the caller's own."""
        taken: list[Samples] = []
        missing = max(0, min(count, self._size))
        self._size -= missing
        while missing:
            block = self._blocks.popleft()
            taken.append(block[:missing])
            if block.size > missing:
                self._blocks.appendleft(block[missing:])
            missing -= taken[-1].size
        return np.concatenate(taken) if taken else _NO_SAMPLES.copy()

    def peek(self, start: int, count: int) -> Samples:
        """A copy of up to `count` samples from `start` on; the queue keeps them."""
        seen: list[Samples] = []
        for block in self._blocks:
            if count <= 0:
                break
            part = block[start : start + count]
            start = max(0, start - block.size)
            count -= part.size
            seen.append(part)
        return np.concatenate(seen) if seen else _NO_SAMPLES.copy()


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
