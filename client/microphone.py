"""Where speech comes from: windows of sound, from a microphone or from a recording."""

import asyncio
from asyncio import AbstractEventLoop
from contextlib import suppress
from threading import Lock
from typing import Protocol, Self

import numpy as np

from client.audio_file import read_audio
from client.sample_queue import SampleQueue, Samples
from client.sound_devices import Direction, SoundDevice, SoundDeviceLost
from client.sound_stream import SoundStream
from client.stream_resampler import StreamResampler
from services.speech_gate import WINDOW_SAMPLES
from shared.audio import resample
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.pcm import Pcm
from shared.settings import Settings

Window = Samples
"""float32 (512,): 32 ms of 16 kHz mono."""

SAMPLE_RATE_HZ = ASR_SAMPLE_RATE_HZ
WINDOW_S = WINDOW_SAMPLES / SAMPLE_RATE_HZ
MAX_RECORDING_S = 3600.0
LOST_AFTER_S = 5.0
"""A device that has been silent for so long is gone. PulseAudio's first block came after up to 2.1 s."""


class Microphone(Protocol):
    """An async context manager that opens the microphone, and an async iterator of what it hears.

    It hears from when it is opened, to be iterated by one task. Iterating ends when it is closed.
    """

    @property
    def ended(self) -> bool:
        """Whether nothing but silence can follow."""

    @property
    def lost_samples(self) -> int:
        """How many samples were dropped because nobody took them in time."""

    def close(self) -> None:
        """Let the iteration end."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Window: ...


class FileMicrophone:
    """A recording heard at the pace of the event loop's clock, then silence until it is closed.

    Its windows come when they would have been spoken, counted from opening: no delay adds up, and who
    is late gets at once what is due.
    """

    lost_samples = 0

    def __init__(self, pcm: Pcm) -> None:
        self._left = SampleQueue()
        self._left.append(resample(pcm, SAMPLE_RATE_HZ).samples)
        self._closed = False

    @classmethod
    def of(cls, source: str, settings: Settings) -> Self:
        """The recording of a file, or of standard input for "-", of up to an hour; blocking.

        Raises BadAudio or TooLong, with what is wrong.
        """
        return cls(read_audio(source, settings.model_copy(update={"max_audio_s": MAX_RECORDING_S})))

    @property
    def ended(self) -> bool:
        """Whether the recording has been heard, and only silence follows."""
        return not len(self._left)

    def close(self) -> None:
        """Let the iteration end."""
        self._closed = True

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._opened_at_s = self._loop.time()
        self._windows = 0
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Window:
        self._windows += 1
        due_s = self._opened_at_s + self._windows * WINDOW_S
        await asyncio.sleep(max(0.0, due_s - self._loop.time()))
        if self._closed:
            raise StopAsyncIteration
        samples = self._left.take(WINDOW_SAMPLES)
        return np.pad(samples, (0, WINDOW_SAMPLES - samples.size))


class DeviceMicrophone:
    """A microphone of this machine, by (a part of) its name; the default one without.

    Opened at the device's own rate, and resampled, where it does not take `sample_rate_hz`. What it
    hears while nobody takes it is kept for `max_waiting_s`; then the oldest is dropped and counted.

    Opening raises NoSoundDevice; iterating SoundDeviceLost if the device stops hearing.
    """

    ended = False

    def __init__(
        self, name: str | None = None, *, sample_rate_hz: int = SAMPLE_RATE_HZ, max_waiting_s: float = 10.0
    ) -> None:
        self._name = name
        self._wanted_rate_hz = sample_rate_hz
        self._max_waiting_s = max_waiting_s
        self._lock = Lock()
        self._heard = SampleQueue()  # at the device's rate
        self._lost: int = 0
        self._windows = SampleQueue()
        self._closed = False

    @property
    def device(self) -> SoundDevice:
        """The device that was opened."""
        return self._stream.device

    @property
    def lost_samples(self) -> int:
        """How many samples, at 16 kHz, were dropped because nobody took them in time."""
        return self._lost * SAMPLE_RATE_HZ // self._stream.sample_rate_hz

    @property
    def troubles(self) -> int:
        """How often the device said that it had lost sound itself; it does not say how much."""
        return self._stream.troubles

    def close(self) -> None:
        """Let the iteration end."""
        self._closed = True
        self._arrived.set()

    async def __aenter__(self) -> Self:
        self._loop: AbstractEventLoop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._stream = await asyncio.to_thread(
            SoundStream, Direction.INPUT, self._name, self._wanted_rate_hz, heard=self._hear, ended=self._wake
        )
        self._resampler = StreamResampler(self._stream.sample_rate_hz, SAMPLE_RATE_HZ)
        self._max_waiting = round(self._max_waiting_s * self._stream.sample_rate_hz)
        await asyncio.to_thread(self._stream.start)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()
        await asyncio.to_thread(self._stream.close)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Window:
        while len(self._windows) < WINDOW_SAMPLES and not self._closed:
            self._windows.append(self._resampler.convert(await self._next_heard()))
        if self._closed:
            raise StopAsyncIteration
        return self._windows.take(WINDOW_SAMPLES)

    def _hear(self, samples: Samples) -> None:
        """On the audio thread: it wakes the event loop only if that sleeps."""
        with self._lock:
            wake = not len(self._heard)
            self._heard.append(samples)
            self._lost += self._heard.take(len(self._heard) - self._max_waiting).size
        if wake:
            self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def _next_heard(self) -> Samples:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOST_AFTER_S):
                await self._arrived.wait()
        with self._lock:
            self._arrived.clear()
            heard = self._heard.take(len(self._heard))
        if not heard.size and not self._closed:
            raise SoundDeviceLost(
                f"The microphone {self.device.name} does not hear any more: is it still plugged in?"
            )
        return heard
