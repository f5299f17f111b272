"""Where replies are heard: a loudspeaker, or a file that gets what a loudspeaker would have said."""

import asyncio
import wave
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from client.audio_file import check_writable, write_errors
from client.playback import PieceHeard, PlaybackBuffer
from client.sample_queue import Samples
from client.sound_devices import Direction, NoSoundDevice, SoundDevice, SoundDeviceLost
from client.sound_stream import LATENCY_S, SoundStream
from client.stream_resampler import StreamResampler
from shared.audio import as_int16
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.pcm import Pcm

Played = Callable[[Samples], None]
"""Is told all that is played, silence too, at 16 kHz, when it is handed to the device. A device tells it
on the audio thread, so it must be quick: `EchoCanceller.far`."""

SAMPLE_RATE_HZ = 24_000
"""Chatterbox's rate; other voices are resampled."""
LOST_AFTER_S = 5.0
"""A device that has taken nothing for so long is gone. PulseAudio stood still for 2.0 s after opening."""
_LOOK_AGAIN_S = 0.01
_LAST_SOUND_S = 0.1
"""Closed at once, the last 45 ms were not heard (PortAudio 19.6 on PulseAudio's ALSA device)."""


class Speaker(ABC):
    """Plays replies, piece after piece; an async context manager.

    All but `played` happens in the event loop's thread and returns at once.
    """

    latency_s: float = 0.0
    """From `played` to the ear."""

    def __init__(self, sample_rate_hz: int, played: Played | None) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._played = played
        self._resampler: StreamResampler | None = None

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *error: object) -> None: ...

    @abstractmethod
    def _up_to_now(self) -> None:
        """Let be heard what was due before this moment. Raises what stands against it."""

    @property
    @abstractmethod
    def first_sound_at_s(self) -> float | None:
        """The event loop's time at which the reply began to sound; None until then and once cleared."""

    def play(self, pcm: Pcm) -> None:
        """Play a piece behind those before it; it begins a reply if the last one has ended.

        All pieces of a reply have one sample rate. Raises ValueError if they have not,
        SoundDeviceLost or OutputNotWritten.
        """
        self._up_to_now()
        self._resampler = self._resampler or StreamResampler(pcm.sample_rate_hz, self.sample_rate_hz)
        if pcm.sample_rate_hz != self._resampler.from_hz:
            raise ValueError(
                f"A reply began at {self._resampler.from_hz} Hz; this is {pcm.sample_rate_hz} Hz."
            )
        self._buffer.append(Pcm(self._resampler.convert(pcm.samples), self.sample_rate_hz))

    def end_reply(self) -> None:
        """Nothing more belongs to the reply."""
        self._buffer.end_reply(self._resampler.finish() if self._resampler else None)
        self._resampler = None

    def pause(self) -> None:
        """Fall silent within 100 ms; nothing is lost."""
        self._up_to_now()
        self._buffer.pause()

    def resume(self) -> None:
        """Go on where the sound was when it was paused."""
        self._up_to_now()
        self._buffer.resume()

    def clear(self) -> tuple[PieceHeard, ...]:
        """Drop the reply, and be ready for the next one; tells how much of each piece has been heard."""
        self._up_to_now()
        self._resampler = None
        return self._buffer.clear()

    def heard(self) -> tuple[PieceHeard, ...]:
        """How much of each of the reply's pieces has been heard, in samples of the speaker's own rate."""
        return self._buffer.heard()

    async def heard_out(self) -> None:
        """Wait until the ended reply has been heard. Raises SoundDeviceLost or OutputNotWritten."""
        while not self._buffer.done:
            self._up_to_now()
            await asyncio.sleep(_LOOK_AGAIN_S)
        await asyncio.sleep(self.latency_s)

    @property
    def done(self) -> bool:
        """Whether the ended reply has been heard, but for `latency_s`."""
        self._up_to_now()
        return self._buffer.done

    @property
    def underruns(self) -> int:
        """How often a piece came too late, so that a reply had a gap."""
        return self._buffer.underruns

    @property
    def underrun_s(self) -> float:
        """How long these gaps were, all together."""
        return self._buffer.underrun_samples / self.sample_rate_hz

    def _begin(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._buffer = PlaybackBuffer(sample_rate_hz)
        self._reference = StreamResampler(sample_rate_hz, ASR_SAMPLE_RATE_HZ)

    def _next(self, num_samples: int) -> Samples:
        samples = self._buffer.read(num_samples)
        if self._played:
            self._played(self._reference.convert(samples))
        return samples


class FileSpeaker(Speaker):
    """Writes a 16-bit WAV of all that is heard from its opening on, silence included.

    It goes by the event loop's clock, exact to a sample: what is played, paused or cleared at a time
    acts at that time's sample.

    Opening raises OutputNotWritten.
    """

    BLOCK_S = 0.02

    def __init__(
        self, path: Path, *, sample_rate_hz: int = SAMPLE_RATE_HZ, played: Played | None = None
    ) -> None:
        super().__init__(sample_rate_hz, played)
        self._path = path

    @property
    def first_sound_at_s(self) -> float | None:
        """The event loop's time at which the reply began to sound; None until then and once cleared."""
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
            self._up_to_now()
        finally:
            with write_errors(self._path):
                self._file.close()

    async def _write(self) -> None:
        while True:
            self._up_to_now()
            next_s = self._opened_at_s + self._buffer.position / self.sample_rate_hz + self.BLOCK_S
            await asyncio.sleep(next_s - self._loop.time())

    def _up_to_now(self) -> None:
        due = round((self._loop.time() - self._opened_at_s) * self.sample_rate_hz)
        with write_errors(self._path):
            while missing := due - self._buffer.position:
                block = self._next(min(missing, self.sample_rate_hz))
                self._file.writeframesraw(as_int16(block).astype("<i2").tobytes())


class DeviceSpeaker(Speaker):
    """A loudspeaker of this machine, by (a part of) its name; the default one without.

    Opened at the device's own rate where it does not take `sample_rate_hz`. Opening waits until the
    device takes sound. Raises NoSoundDevice.

    Less latency than LATENCY_S makes a pause quicker, more spares a busy machine gaps (`troubles`).
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        sample_rate_hz: int = SAMPLE_RATE_HZ,
        latency_s: float = LATENCY_S[Direction.OUTPUT],
        played: Played | None = None,
    ) -> None:
        super().__init__(sample_rate_hz, played)
        self._name = name
        self.latency_s = latency_s

    @property
    def device(self) -> SoundDevice:
        """The device that was opened."""
        return self._stream.device

    @property
    def troubles(self) -> int:
        """How often the device said that it had run dry itself."""
        return self._stream.troubles

    @property
    def first_sound_at_s(self) -> float | None:
        """The event loop's time at which the reply began to sound; None until then and once cleared."""
        begun_at, (position, at_s) = self._buffer.begun_at, self._taken
        if begun_at is None:
            return None
        return at_s + (begun_at - position) / self.sample_rate_hz + self.latency_s

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._taken = (0, self._loop.time())
        self._stream = await asyncio.to_thread(
            lambda: SoundStream(
                Direction.OUTPUT,
                self._name,
                self.sample_rate_hz,
                latency_s=self.latency_s,
                wanted=self._want,
            )
        )
        self._begin(self._stream.sample_rate_hz)
        self.latency_s = self._stream.latency_s
        try:
            await asyncio.to_thread(self._stream.start)
            await self._started()
        except BaseException:
            await asyncio.to_thread(self._stream.close)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        if error[0] is None and self._buffer.done:
            await asyncio.sleep(_LAST_SOUND_S)
        await asyncio.to_thread(self._stream.close)

    def _want(self, num_samples: int) -> Samples:
        """On the audio thread."""
        self._taken = (self._buffer.position, self._loop.time())
        return self._next(num_samples)

    async def _started(self) -> None:
        """Wait until the device takes more than fills its buffer."""
        give_up_at_s = self._loop.time() + LOST_AFTER_S
        while self._buffer.position < 2 * self.latency_s * self.sample_rate_hz:
            if self._loop.time() > give_up_at_s:
                raise NoSoundDevice(f"The loudspeaker {self.device.name} takes no sound: choose another.")
            await asyncio.sleep(_LOOK_AGAIN_S)

    def _up_to_now(self) -> None:
        _, taken_at_s = self._taken
        if not self._stream.active or self._loop.time() - taken_at_s > LOST_AFTER_S:
            raise SoundDeviceLost(
                f"The loudspeaker {self.device.name} takes no more sound: is it still plugged in?"
            )
