"""Checked mono audio inside one process: the samples themselves, resampling, 16-bit WAV."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from shared.errors import BadAudio

MIN_SAMPLE_RATE_HZ = 4_000
MAX_SAMPLE_RATE_HZ = 384_000
_PCM_16_SCALE = 32_768


@dataclass(frozen=True, eq=False, slots=True)
class Pcm:
    """Mono audio: `samples` is float32, 1-D, finite, in [-1, 1]; `sample_rate_hz` is its rate.

    The array is made read-only. Pcm stays in its process: to cross a boundary it is encoded
    (`shared.audio.mp3.encode_mp3`), and pickling it is a TypeError.

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
        raise TypeError("Pcm stays in its process: encode it with shared.audio.mp3.encode_mp3 first.")


def join(segments: Sequence[Pcm]) -> Pcm:
    """One Pcm of several, in order, with nothing between them, at the sample rate of the first.

    Raises ValueError if there are none.
    """
    if not segments:
        raise ValueError("There are no segments to join.")
    rate_hz = segments[0].sample_rate_hz
    return Pcm(np.concatenate([resample(one, rate_hz).samples for one in segments]), rate_hz)


def split(pcm: Pcm, duration_s: float) -> tuple[Pcm, Pcm]:
    """What is before that time, rounded to samples, and the rest; either may be empty."""
    at = round(duration_s * pcm.sample_rate_hz)
    return Pcm(pcm.samples[:at], pcm.sample_rate_hz), Pcm(pcm.samples[at:], pcm.sample_rate_hz)


def resample(pcm: Pcm, sample_rate_hz: int) -> Pcm:
    """The same audio at another sample rate, by soxr at high quality; the length is rounded to samples."""
    if pcm.sample_rate_hz == sample_rate_hz:
        return pcm
    samples = soxr.resample(pcm.samples, pcm.sample_rate_hz, sample_rate_hz, quality="HQ")
    return Pcm(np.clip(samples, -1.0, 1.0), sample_rate_hz)  # filters overshoot


def encode_wav(pcm: Pcm) -> bytes:
    """The audio as a 16-bit WAV; 16-bit samples come back exactly."""
    wav = io.BytesIO()
    soundfile.write(wav, as_int16(pcm.samples), pcm.sample_rate_hz, format="WAV", subtype="PCM_16")
    return wav.getvalue()


def as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples within ±1 as 16-bit ones."""
    scaled = np.rint(samples * _PCM_16_SCALE).clip(-_PCM_16_SCALE, _PCM_16_SCALE - 1)
    return scaled.astype(np.int16)
