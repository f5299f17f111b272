"""A microphone of this machine."""

import asyncio
from asyncio import AbstractEventLoop
from contextlib import suppress
from threading import Lock
from typing import Self

from client.audio.microphone import Microphone
from client.audio.samples import SampleQueue, StreamResampler
from client.audio.sound_devices import Direction, SoundDeviceLost
from client.audio.sound_stream import SoundStream
from conversation.audio import Frame, Samples
from shared.audio.vad import FRAME_SAMPLES
from shared.engines import ASR_SAMPLE_RATE_HZ

LOST_AFTER_S = 5.0
"""A device that delivers nothing this long is gone. PulseAudio's first block came after up to 2.1 s."""

LATENCY_S = 0.04
"""From the air to a frame: 0.02 to 0.06 s were measured on PulseAudio (tests/devices). What PortAudio
reports, 0.19 s there, is how much its buffer can hold."""


class DeviceMicrophone(Microphone):
    """A microphone of this machine, by (a part of) its name; the default one without.

    Opened at the device's own rate, and resampled, where it does not take `sample_rate_hz`. Audio that
    nobody takes is kept for `max_waiting_s`; then the oldest is dropped and counted.

    Opening raises NoSoundDevice; iterating SoundDeviceLost if the device stops delivering.
    """

    latency_s = LATENCY_S

    def __init__(
        self,
        name: str | None = None,
        *,
        sample_rate_hz: int = ASR_SAMPLE_RATE_HZ,
        max_waiting_s: float = 10.0,
    ) -> None:
        self._name = name
        self._wanted_rate_hz = sample_rate_hz
        self._max_waiting_s = max_waiting_s
        self._lock = Lock()
        self._waiting = SampleQueue()  # at the device's rate
        self._lost: int = 0  # at the device's rate
        self._reported = 0  # of lost_samples, to who iterates
        self._resampled = SampleQueue()

    @property
    def lost_samples(self) -> int:
        """How many samples at 16 kHz were lost: dropped because nobody took them in time, and a block each
        time that the device itself has lost audio, as it does not say how much."""
        return self._lost * ASR_SAMPLE_RATE_HZ // self._stream.sample_rate_hz

    async def __aenter__(self) -> Self:
        self._loop: AbstractEventLoop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._stream = await SoundStream.opened(
            Direction.INPUT, self._name, self._wanted_rate_hz, on_input=self._keep, on_ended=self._wake
        )
        self._resampler = StreamResampler(self._stream.sample_rate_hz, ASR_SAMPLE_RATE_HZ)
        self._max_waiting = round(self._max_waiting_s * self._stream.sample_rate_hz)
        try:
            await asyncio.to_thread(self._stream.start)
        except BaseException:
            await asyncio.to_thread(self._stream.close)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.to_thread(self._stream.close)

    async def __anext__(self) -> Frame:
        await asyncio.sleep(0)  # a backlog comes without waiting, and must not keep others from running
        while len(self._resampled) < FRAME_SAMPLES:
            self._resampled.append(self._resampler.convert(await self._next_block()))
        lost, self._reported = self.lost_samples - self._reported, self.lost_samples
        return Frame(self._resampled.take(FRAME_SAMPLES), lost)

    def _keep(self, samples: Samples, overflow: bool) -> None:
        """On the audio thread: it wakes the event loop only if that sleeps."""
        with self._lock:
            wake = not len(self._waiting)
            self._waiting.append(samples)
            dropped = self._waiting.take(len(self._waiting) - self._max_waiting).size
            self._lost += dropped + (samples.size if overflow else 0)
        if wake:
            self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def _next_block(self) -> Samples:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOST_AFTER_S):
                await self._arrived.wait()
        with self._lock:
            self._arrived.clear()
            samples = self._waiting.take(len(self._waiting))
        if not samples.size:
            raise SoundDeviceLost(
                f"The microphone {self._stream.device.name} delivers no more audio: is it still plugged in?"
            )
        return samples
