"""Speech in the formats that clients ask for, encoded while it is synthesized, and at their speed.

All by PyAV, which is FFmpeg's libraries. Blocking: for a thread.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, Literal, cast, get_args

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.filter import Graph

from shared.audio.pcm import Pcm

SpeechFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
SPEECH_FORMATS: Final[tuple[SpeechFormat, ...]] = get_args(SpeechFormat)

SAMPLE_RATE_HZ: Final = 24_000
"""Of all that is sent, as at OpenAI."""

MIN_SPEED: Final = 0.25
MAX_SPEED: Final = 4.0


@dataclass(frozen=True)
class _Format:
    container: str
    codec: str
    media_type: str
    bit_rate: int | None = None
    options: dict[str, str] = field(default_factory=dict)


_FORMATS: Final[dict[SpeechFormat, _Format]] = {
    # No Xing header, which would be written at the end, and no ID3.
    "mp3": _Format("mp3", "libmp3lame", "audio/mpeg", 64_000, {"write_xing": "0", "id3v2_version": "0"}),
    "opus": _Format("ogg", "libopus", "audio/opus", 32_000, {"page_duration": "100000"}),  # µs; usual is 1 s
    "aac": _Format("adts", "aac", "audio/aac", 64_000),
    "flac": _Format("flac", "flac", "audio/flac"),
    "wav": _Format("wav", "pcm_s16le", "audio/wav"),
    "pcm": _Format("s16le", "pcm_s16le", "audio/pcm"),
}


def media_type(speech_format: SpeechFormat) -> str:
    """What the format is called in HTTP."""
    return _FORMATS[speech_format].media_type


class SpeechEncoder:
    """Encodes one stream of speech; mono, 24 kHz, 16 bits where the format has bits. Its owner closes it,
    from any thread, also while another encodes.

    `speed` is how much faster it is spoken, MIN_SPEED to MAX_SPEED, at the same pitch. Nothing is written
    twice, so WAV and FLAC do not declare a length, as at OpenAI.
    """

    def __init__(self, speech_format: SpeechFormat, speed: float = 1.0) -> None:
        chosen = _FORMATS[speech_format]
        self._speed = speed
        self._lock = threading.Lock()  # FFmpeg crashes where one thread closes what another uses
        self._closed = False
        self._written = _Written()
        self._container = av.open(
            self._written, "w", format=chosen.container, options={**chosen.options, "flush_packets": "1"}
        )
        self._stream = cast(AudioStream, self._container.add_stream(chosen.codec, rate=SAMPLE_RATE_HZ))
        self._stream.layout = "mono"
        if chosen.bit_rate:
            self._stream.bit_rate = chosen.bit_rate
        self._filters: _Filters | None = None
        self.num_samples = 0
        """How many samples have been encoded, at SAMPLE_RATE_HZ."""

    def write(self, pcm: Pcm) -> bytes:
        """Encode the next speech, of any sample rate, and return what has come out."""
        with self._lock:
            self._check_open()
            if self._filters and self._filters.sample_rate_hz != pcm.sample_rate_hz:
                self._encode(self._filters.finish())
                self._filters = None
            if pcm.num_samples:
                self._filters = self._filters or _Filters(pcm.sample_rate_hz, self._speed)
                self._encode(self._filters.write(pcm))
            return self._written.take()

    def finish(self) -> bytes:
        """Complete the stream, and return the rest of it."""
        with self._lock:
            self._check_open()
            if self._filters:
                self._encode(self._filters.finish())
            self._container.mux(self._stream.encode(None))
            self._close()
            return self._written.take()

    def close(self) -> None:
        """Encode no more. Closing again does no harm."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._closed = True
        self._container.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("The encoder is closed.")

    def _encode(self, frames: Iterator[AudioFrame]) -> None:
        for frame in frames:
            frame.pts = self.num_samples
            frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
            self.num_samples += frame.samples
            self._container.mux(self._stream.encode(frame))


class _Filters:
    """From one sample rate to SAMPLE_RATE_HZ, and to another tempo."""

    def __init__(self, sample_rate_hz: int, speed: float) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._num_samples = 0
        self._graph = Graph()
        shape = (
            f"sample_rate={sample_rate_hz}:sample_fmt=flt:channel_layout=mono:time_base=1/{sample_rate_hz}"
        )
        self._source = self._graph.add("abuffer", shape)
        chain = [self._graph.add("aresample", str(SAMPLE_RATE_HZ))]
        chain += [self._graph.add("atempo", f"{tempo:.6f}") for tempo in _tempos(speed)]
        chain += [self._graph.add("aformat", "sample_fmts=s16"), self._graph.add("abuffersink")]
        self._sink = chain[-1]
        for one, following in zip([self._source, *chain], chain, strict=False):
            one.link_to(following)
        self._graph.configure()

    def write(self, pcm: Pcm) -> Iterator[AudioFrame]:
        frame = AudioFrame.from_ndarray(pcm.samples[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = self.sample_rate_hz
        frame.time_base = Fraction(1, self.sample_rate_hz)
        frame.pts = self._num_samples
        self._num_samples += pcm.num_samples
        self._source.push(frame)
        yield from self._filtered()

    def finish(self) -> Iterator[AudioFrame]:
        self._source.push(None)
        yield from self._filtered()

    def _filtered(self) -> Iterator[AudioFrame]:
        while True:
            try:
                frame = self._sink.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(frame, AudioFrame)
            yield frame


def _tempos(speed: float) -> list[float]:
    """In steps of 0.5 to 2 each: atempo stretches no more, and leaves samples out where it shortens more."""
    tempos = []
    while not 0.5 <= speed <= 2.0:
        step = 2.0 if speed > 1.0 else 0.5
        tempos.append(step)
        speed /= step
    return [*tempos, speed] if speed != 1.0 else tempos


class _Written:
    """A file that is only written to: what comes out of the encoder until it is taken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data
