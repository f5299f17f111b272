"""A microphone of this machine."""

import asyncio
from asyncio import AbstractEventLoop
from contextlib import suppress
from threading import Lock
from typing import Self

from client.audio.microphone import SAMPLE_RATE_HZ
from client.audio.sample_queue import SampleQueue, Samples
from client.audio.sound_devices import Direction, SoundDevice, SoundDeviceLost
from client.audio.sound_stream import SoundStream
from client.audio.stream_resampler import StreamResampler
from conversation.audio import Frame
from shared.audio.vad import FRAME_SAMPLES

LOST_AFTER_S = 5.0
"""A device that has been silent for so long is gone. PulseAudio's first block came after up to 2.1 s."""


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
        self._frames = SampleQueue()
        self._reported_lost = 0
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
    def latency_s(self) -> float:
        """How long audio takes from the air to a frame, as PortAudio reports it."""
        return self._stream.latency_s

    @property
    def xruns(self) -> int:
        """How often the device said that it had lost sound itself; it does not say how much."""
        return self._stream.xruns

    def close(self) -> None:
        """Let the iteration end."""
        self._closed = True
        self._arrived.set()

    async def __aenter__(self) -> Self:
        self._loop: AbstractEventLoop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._stream = await asyncio.to_thread(
            lambda: SoundStream(
                Direction.INPUT, self._name, self._wanted_rate_hz, heard=self._hear, ended=self._wake
            )
        )
        self._resampler = StreamResampler(self._stream.sample_rate_hz, SAMPLE_RATE_HZ)
        self._max_waiting = round(self._max_waiting_s * self._stream.sample_rate_hz)
        try:
            await asyncio.to_thread(self._stream.start)
        except BaseException:
            await asyncio.to_thread(self._stream.close)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()
        await asyncio.to_thread(self._stream.close)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        while len(self._frames) < FRAME_SAMPLES and not self._closed:
            self._frames.append(self._resampler.convert(await self._next_heard()))
        if self._closed:
            raise StopAsyncIteration
        lost_samples = self.lost_samples
        frame = Frame(self._frames.take(FRAME_SAMPLES), lost_samples - self._reported_lost)
        self._reported_lost = lost_samples
        return frame

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
