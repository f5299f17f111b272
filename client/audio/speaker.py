"""Where replies are played: a loudspeaker, or a file that gets what a loudspeaker would have played."""

import asyncio
import wave
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from client.audio.audio_file import check_writable, write_errors
from client.audio.playback_buffer import PlaybackBuffer
from client.audio.samples import StreamResampler
from client.audio.sound_devices import SoundDeviceLost
from client.errors import OutputNotWritten
from conversation.audio import Samples, SegmentPlayed
from shared.audio.pcm import Pcm, as_int16
from shared.engines import ASR_SAMPLE_RATE_HZ

OnPlayed = Callable[[Samples], None]
"""Called with all that is played, silence too, at 16 kHz, when it is handed to the device: on the audio
thread, so it must be quick (`EchoCanceller.far`)."""

PLAYBACK_RATE_HZ = 24_000
"""Chatterbox's rate; other voices are resampled."""
_LOOK_AGAIN_S = 0.01


class Speaker(ABC):
    """Plays replies, segment after segment; an async context manager.

    All but `on_played` happens in the event loop's thread and returns at once.
    """

    latency_s: float = 0.0
    """From `on_played` to the ear."""

    def __init__(self, sample_rate_hz: int, on_played: OnPlayed | None) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._on_played = on_played
        self._resampler: StreamResampler | None = None

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *error: object) -> None: ...

    @abstractmethod
    def check(self) -> None:
        """Play what was due before this moment. Raises SoundDeviceLost or OutputNotWritten if it cannot."""

    @property
    @abstractmethod
    def first_audio_at_s(self) -> float | None:
        """The event loop's time at which the reply became audible; None until then and once cleared."""

    def play(self, pcm: Pcm) -> None:
        """Play a segment behind those before it; it begins a reply if the last one has ended.

        Raises SoundDeviceLost or OutputNotWritten.
        """
        self.check()
        if self._resampler and self._resampler.from_hz != pcm.sample_rate_hz:
            self._finish_resampling()
        self._resampler = self._resampler or StreamResampler(pcm.sample_rate_hz, self.sample_rate_hz)
        self._buffer.append(Pcm(self._resampler.convert(pcm.samples), self.sample_rate_hz))

    def end_reply(self) -> None:
        """Nothing more belongs to the reply."""
        self._finish_resampling()
        self._buffer.end_reply()

    def pause(self) -> None:
        """Fall silent, within 100 ms at the default latency; nothing is lost."""
        self.check()
        self._buffer.pause()

    def resume(self) -> None:
        """Continue where playback was paused."""
        self.check()
        self._buffer.resume()

    def clear(self) -> tuple[SegmentPlayed, ...]:
        """Drop the reply, and be ready for the next one; returns how much of each segment was played."""
        with suppress(SoundDeviceLost, OutputNotWritten):  # the next `play` raises it
            self.check()
        self._resampler = None
        return self._buffer.clear()

    async def drain(self) -> None:
        """Wait until the ended reply was played to completion. Raises SoundDeviceLost or OutputNotWritten."""
        while not self._buffer.done:
            self.check()
            await asyncio.sleep(_LOOK_AGAIN_S)
        await asyncio.sleep(self.latency_s)

    @property
    def done(self) -> bool:
        """Whether the ended reply was played to completion, but for `latency_s`."""
        self.check()
        return self._buffer.done

    @property
    def underruns(self) -> int:
        """How often a segment came too late, so that a reply had a gap."""
        return self._buffer.underruns

    def _begin(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._buffer = PlaybackBuffer(sample_rate_hz)
        self._reference = StreamResampler(sample_rate_hz, ASR_SAMPLE_RATE_HZ)

    def _finish_resampling(self) -> None:
        if self._resampler:
            self._buffer.extend(self._resampler.finish())
            self._resampler = None

    def _next(self, num_samples: int) -> Samples:
        return self._observed(self._buffer.read(num_samples))

    def _observed(self, samples: Samples) -> Samples:
        if self._on_played:
            self._on_played(self._reference.convert(samples))
        return samples


class FileSpeaker(Speaker):
    """Writes a 16-bit WAV of all that is played from its opening on, silence included.

    It goes by the event loop's clock, exact to a sample: what is played, paused or cleared at a time
    acts at that time's sample. The file can be read at any time, and whatever ends the program: its header
    is brought up to date with each block.

    Opening raises OutputNotWritten.
    """

    BLOCK_S = 0.02

    def __init__(
        self, path: Path, *, sample_rate_hz: int = PLAYBACK_RATE_HZ, on_played: OnPlayed | None = None
    ) -> None:
        super().__init__(sample_rate_hz, on_played)
        self._path = path

    @property
    def first_audio_at_s(self) -> float | None:
        """The event loop's time at which the reply became audible; None until then and once cleared."""
        begun_at = self._buffer.begun_at
        return None if begun_at is None else self._opened_at_s + begun_at / self.sample_rate_hz

    async def __aenter__(self) -> Self:
        check_writable(self._path)
        with write_errors(self._path):
            self._file = wave.open(str(self._path), "wb")  # noqa: SIM115  closed by __aexit__
            self._file.setparams((1, 2, self.sample_rate_hz, 0, "NONE", "not compressed"))
        self._begin(self.sample_rate_hz)
        self._loop = asyncio.get_running_loop()
        self._opened_at_s = self._loop.time()
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writing.cancel()
        try:
            with suppress(asyncio.CancelledError):
                await self._writing
            self.check()
        finally:
            with write_errors(self._path):
                self._file.close()

    async def _write(self) -> None:
        while True:
            self.check()
            next_s = self._opened_at_s + self._buffer.position / self.sample_rate_hz + self.BLOCK_S
            await asyncio.sleep(next_s - self._loop.time())

    def check(self) -> None:
        """Write what was due before this moment. Raises OutputNotWritten."""
        due = round((self._loop.time() - self._opened_at_s) * self.sample_rate_hz)
        with write_errors(self._path):
            while missing := due - self._buffer.position:
                block = self._next(min(missing, self.sample_rate_hz))
                self._file.writeframes(as_int16(block).astype("<i2").tobytes())
