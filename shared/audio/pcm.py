"""Checked mono audio inside one process."""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadAudio

MIN_SAMPLE_RATE_HZ = 4_000
MAX_SAMPLE_RATE_HZ = 384_000


@dataclass(frozen=True, eq=False, slots=True)
class Pcm:
    """Mono audio: `samples` is float32, 1-D, finite, in [-1, 1]; `sample_rate_hz` is its rate.

    The array is made read-only. It stays in its process: to cross a boundary it is encoded
    (`shared.audio.codec.encode_mp3`), and pickling it is a TypeError.

    Raises BadAudio if the samples are anything else.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int

    def __post_init__(self) -> None:
        samples = self.samples
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise BadAudio(f"Audio must be mono float32, not {samples.dtype} of shape {samples.shape}.")
        if not MIN_SAMPLE_RATE_HZ <= self.sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
            raise BadAudio(f"A sample rate of {self.sample_rate_hz} Hz is not one of recorded speech.")
        # NaN fails both comparisons; min and max need no temporary array.
        if samples.size and not (samples.min() >= -1.0 and samples.max() <= 1.0):
            raise BadAudio("The audio holds samples that are not numbers between -1 and 1.")
        samples.flags.writeable = False

    @property
    def num_samples(self) -> int:
        """Length in samples."""
        return self.samples.size

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate_hz

    def __reduce__(self) -> NoReturn:
        raise TypeError("Pcm stays in its process: encode it with shared.audio.codec.encode_mp3 first.")

    def __copy__(self) -> "Pcm":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pcm":
        return self


def join(pieces: list[Pcm]) -> Pcm:
    """One Pcm of several of the same rate, in order, with nothing between them.

    Raises ValueError if there are none or their rates differ.
    """
    rates = {piece.sample_rate_hz for piece in pieces}
    if len(rates) != 1:
        raise ValueError(f"Pieces to join must be of one sample rate, not of {sorted(rates)}.")
    return Pcm(np.concatenate([piece.samples for piece in pieces]), rates.pop())
