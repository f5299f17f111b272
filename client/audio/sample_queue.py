"""Samples on their way, put in and taken out in pieces of any size."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono sound, 1-D float32, as a rule within ±1."""


class SampleQueue:
    """A queue of samples. Not safe to share between threads."""

    def __init__(self) -> None:
        self._pieces: deque[Samples] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, samples: Samples) -> None:
        """Put them behind the others; they are not copied."""
        if samples.size:
            self._pieces.append(samples)
            self._size += samples.size

    def take(self, count: int) -> Samples:
        """Take out the next `count` samples, or all if there are fewer; the array is the caller's own."""
        taken: list[Samples] = []
        missing = max(0, min(count, self._size))
        self._size -= missing
        while missing:
            piece = self._pieces.popleft()
            taken.append(piece[:missing])
            if piece.size > missing:
                self._pieces.appendleft(piece[missing:])
            missing -= taken[-1].size
        return np.concatenate(taken) if taken else np.empty(0, np.float32)

    def peek(self, start: int, count: int) -> Samples:
        """A copy of up to `count` samples from `start` on, all left where they are."""
        seen: list[Samples] = []
        for piece in self._pieces:
            if count <= 0:
                break
            part = piece[start : start + count]
            start = max(0, start - piece.size)
            count -= part.size
            seen.append(part)
        return np.concatenate(seen) if seen else np.empty(0, np.float32)

    def clear(self) -> None:
        """Drop all of them."""
        self._pieces.clear()
        self._size = 0
