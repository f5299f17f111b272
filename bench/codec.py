"""The codec against pydub with ffmpeg: ten seconds of speech to MP3 at 64 kbps and back."""

import io
import shutil
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.sounds import EXAMPLES
from shared.audio.decode import decode_audio, decode_mp3
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm, encode_wav, resample
from shared.settings import Settings

DURATION_S = 10
ROUNDS = 10


@dataclass(frozen=True)
class CodecTime:
    """Medians in milliseconds, the two codecs taking turns; None without ffmpeg."""

    sample_rate_hz: int
    encode_ms: float
    decode_ms: float
    pydub_encode_ms: float | None
    pydub_decode_ms: float | None

    @property
    def speed_up(self) -> float | None:
        """How many times faster our round trip is."""
        if self.pydub_encode_ms is None or self.pydub_decode_ms is None:
            return None
        return (self.pydub_encode_ms + self.pydub_decode_ms) / (self.encode_ms + self.decode_ms)


def codec_times() -> list[CodecTime]:
    """At the rate of recorded speech and at the rate of most TTS engines."""
    return [_codec_time(_speech(sample_rate_hz)) for sample_rate_hz in (16_000, 24_000)]


def _speech(sample_rate_hz: int) -> Pcm:
    """The project's own spoken examples, one after another."""
    spoken = [decode_audio(path.read_bytes(), Settings()) for path in sorted(EXAMPLES.glob("*.mp3"))]
    samples = np.concatenate([resample(pcm, sample_rate_hz).samples for pcm in spoken])
    return Pcm(np.resize(samples, DURATION_S * sample_rate_hz), sample_rate_hz)


def _codec_time(pcm: Pcm) -> CodecTime:
    mp3 = encode_mp3(pcm)
    works: list[Callable[[], object]] = [lambda: encode_mp3(pcm), lambda: decode_mp3(mp3)]
    if shutil.which("ffmpeg"):
        works += _pydub(pcm, mp3.mp3)
    times_ms: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, own in zip(works, times_ms, strict=True):
            start = time.perf_counter()
            work()
            own.append((time.perf_counter() - start) * 1000)
    medians: list[float | None] = [statistics.median(own) for own in times_ms]
    ours_encode, ours_decode, theirs_encode, theirs_decode = [*medians, None, None][:4]
    assert ours_encode is not None
    assert ours_decode is not None
    return CodecTime(pcm.sample_rate_hz, ours_encode, ours_decode, theirs_encode, theirs_decode)


def _pydub(pcm: Pcm, mp3: bytes) -> list[Callable[[], object]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydub's own, at its import
        from pydub import AudioSegment  # slow to import, and only here
    segment = AudioSegment.from_wav(io.BytesIO(encode_wav(pcm)))
    return [
        lambda: segment.export(io.BytesIO(), format="mp3", bitrate="64k"),
        lambda: AudioSegment.from_file(io.BytesIO(mp3), format="mp3").raw_data,
    ]
