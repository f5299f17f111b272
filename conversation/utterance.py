"""An utterance as MP3, encoded while it is spoken, so that almost no work is left at its end."""

import io
from math import ceil

import numpy as np
from numpy.typing import NDArray

from shared.audio.mp3 import encode_mp3, first_frame_bytes, mp3_writer
from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import BadAudio
from shared.payloads import Mp3Audio

ENCODER_LAG_SAMPLES = 2449
"""How far LAME's output lags behind its input at most, at 64 kbps and above, fed frames of 512 samples:
measured over speech, noise, silence, tones and their changes. At 32 kbps it is 3025, at 8 kbps 8785: the
fewer bits a frame has, the more of them LAME saves for later."""

_FRAME_SAMPLES = 576  # at 16 kHz
_CODEC_DELAY = 576 + 529  # samples before the sound: LAME's and the decoder's
_SIDE_INFO = 4  # its place in an MP3 frame, behind the header
_INFO_TAG = 13  # the place of its name in an Info frame, behind the side information


class UtteranceEncoder:
    """Takes samples while a person speaks, and returns the first ones of them as Mp3Audio, at any moment.
    Its owner has them encoded while the person goes on.

    A finished encoder cannot continue, so while the person may still speak, `so_far` returns the MP3 frames
    that have come out already: bit for bit what `encode_mp3` makes of the whole. For 10 s at 64 kbps on one
    core (measured): 0.2 ms to `encode` a frame of 512 samples, 0.1 ms for `so_far`, 1 ms for `finished`;
    encoding the whole takes 70 to 90 ms. Its owner ends it by `finished` or `close`. Not safe to share
    between threads.
    """

    def __init__(self, bitrate_kbps: int = 64) -> None:
        self._bitrate_kbps = bitrate_kbps
        self._mp3 = io.BytesIO()
        self._writer = mp3_writer(self._mp3, ASR_SAMPLE_RATE_HZ, bitrate_kbps)
        self._samples: list[NDArray[np.float32]] = []
        self._encoded = 0  # of these
        self.num_samples = 0
        """How many samples have been written."""

    def write(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples: 1-D, float32, in [-1, 1], at 16 kHz; not to be changed afterwards."""
        if self._writer.closed:
            raise RuntimeError("The encoder is closed.")
        self._samples.append(samples)
        self.num_samples += samples.size

    def encode(self) -> None:
        """Encode what has been written. Whatever takes or ends the utterance does so too."""
        if unencoded := self._samples[self._encoded :]:
            self._writer.write(np.concatenate(unencoded))
            self._encoded = len(self._samples)

    def newest(self, num_samples: int) -> NDArray[np.float32]:
        """So many of the samples that were written last, as they were, or all."""
        return np.concatenate([*self._samples, np.empty(0, np.float32)])[-num_samples:]

    def so_far(self, num_samples: int) -> Mp3Audio:
        """The first `num_samples`; more may be written afterwards.

        At once if at least ENCODER_LAG_SAMPLES have been written after them. Otherwise these samples are
        encoded again, which takes about 8 ms for each second. Raises BadAudio if there are not so many,
        or none.
        """
        self._check(num_samples)
        self.encode()
        return self._cut(num_samples) or self._encoded_again(num_samples)

    def finished(self, num_samples: int | None = None) -> Mp3Audio:
        """The first `num_samples`, or all; nothing can be written afterwards.

        Raises BadAudio if there are not so many, or none.
        """
        num_samples = self.num_samples if num_samples is None else num_samples
        self._check(num_samples)
        self.close()
        audio = self._cut(num_samples)
        assert audio  # closing brings out all of it
        return audio

    def close(self) -> None:
        """Write no more; what has been written can still be taken. Closing again does no harm."""
        self.encode()
        self._writer.close()

    def _check(self, num_samples: int) -> None:
        if not 0 < num_samples <= self.num_samples:
            raise BadAudio(f"{num_samples} samples were asked of an utterance of {self.num_samples}.")

    def _cut(self, num_samples: int) -> Mp3Audio | None:
        """Whole frames that hold the samples, without the Info frame, whose length would be wrong."""
        mp3 = self._mp3.getvalue()
        if not mp3:
            return None
        size = first_frame_bytes(mp3)
        start = size if _is_info(mp3[:size]) else 0
        end = start + ceil((num_samples + _CODEC_DELAY) / _FRAME_SAMPLES) * size
        if end > len(mp3):
            return None
        return Mp3Audio(mp3=mp3[start:end], sample_rate_hz=ASR_SAMPLE_RATE_HZ, num_samples=num_samples)

    def _encoded_again(self, num_samples: int) -> Mp3Audio:
        samples = np.concatenate(self._samples)[:num_samples]
        return encode_mp3(Pcm(samples, ASR_SAMPLE_RATE_HZ), self._bitrate_kbps)


def _is_info(frame: bytes) -> bool:
    """Whether a first frame is LAME's Info frame, or its placeholder until the encoder is closed."""
    return not any(frame[_SIDE_INFO:]) or frame[_INFO_TAG : _INFO_TAG + 4] == b"Info"
