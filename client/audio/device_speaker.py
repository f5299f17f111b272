"""A loudspeaker of this machine."""

import asyncio
from typing import Self

import numpy as np

from client.audio.sound_devices import Direction, NoSoundDevice, SoundDeviceLost
from client.audio.sound_stream import LATENCY_S, SoundStream
from client.audio.speaker import PLAYBACK_RATE_HZ, OnPlayed, Speaker
from conversation.audio import Samples

LOST_AFTER_S = 5.0
"""A device that has taken nothing for this long is gone. PulseAudio stood still for 2.0 s after opening."""
_LOOK_AGAIN_S = 0.01
_LAST_AUDIO_S = 0.1
"""Closed at once, the last 45 ms were not played (PortAudio 19.6 on PulseAudio's ALSA device)."""
_REFILLED = "ALSA"
"""The host API whose device gets silence after an underrun, until it has taken its buffer's size without
another. PulseAudio's ALSA device throws away what it has and starts over when it underruns, on a busy machine
a hundred times a second: of a reply of 6 s, 5 s were not played (40 ms of buffer, eight busy processes on two
cores); with silence all of it was."""


class DeviceSpeaker(Speaker):
    """A loudspeaker of this machine, by (a part of) its name; the default one without.

    Opened at the device's own rate where it does not take `sample_rate_hz`. Opening waits until the
    device takes audio. Raises NoSoundDevice.

    A latency below LATENCY_S makes a pause quicker; a higher one spares a busy machine underruns.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        sample_rate_hz: int = PLAYBACK_RATE_HZ,
        latency_s: float = LATENCY_S[Direction.OUTPUT],
        on_played: OnPlayed | None = None,
    ) -> None:
        super().__init__(sample_rate_hz, on_played)
        self._name = name
        self.latency_s = latency_s

    @property
    def underruns(self) -> int:
        """How often a reply had a gap: a segment came too late, or the device underran."""
        return self._buffer.underruns + self._device_underruns

    @property
    def first_audio_at_s(self) -> float | None:
        """The event loop's time at which the reply became audible; None until then and once cleared."""
        sample, at_s = self._begun
        return at_s + self.latency_s if sample is not None and sample == self._buffer.begun_at else None

    def check(self) -> None:
        """Raise SoundDeviceLost if the device is gone."""
        if not self._stream.active or self._loop.time() - self._taken_at_s > LOST_AFTER_S:
            raise SoundDeviceLost(
                f"The loudspeaker {self._stream.device.name} takes no more audio: is it still plugged in?"
            )

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._taken_at_s = self._loop.time()
        self._begun: tuple[int | None, float] = (None, 0.0)  # the reply's first sample, and when it was taken
        self._stream = await SoundStream.opened(
            Direction.OUTPUT,
            self._name,
            self.sample_rate_hz,
            latency_s=self.latency_s,
            on_output=self._give,
        )
        self._begin(self._stream.sample_rate_hz)
        self.latency_s = self._stream.latency_s
        self._device_underruns = 0
        self._refill = 0  # samples of silence that the device still gets
        try:
            await asyncio.to_thread(self._stream.start)
            await self._started()
        except BaseException:
            await asyncio.to_thread(self._stream.close)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        if error[0] is None and self._buffer.done:
            await asyncio.sleep(_LAST_AUDIO_S)
        await asyncio.to_thread(self._stream.close)

    def _give(self, num_samples: int, underflow: bool) -> Samples:
        """On the audio thread."""
        self._taken_at_s = self._loop.time()
        if underflow:
            self._device_underruns += self._buffer.sounding and not self._refill
            if self._stream.device.host_api == _REFILLED:
                self._refill = round(self.latency_s * self.sample_rate_hz)
        if self._refill:
            self._refill = max(0, self._refill - num_samples)
            return self._observed(np.zeros(num_samples, np.float32))
        position = self._buffer.position
        samples = self._next(num_samples)
        begun_at = self._buffer.begun_at
        if begun_at is not None and begun_at != self._begun[0]:
            self._begun = (begun_at, self._taken_at_s + (begun_at - position) / self.sample_rate_hz)
        return samples

    async def _started(self) -> None:
        """Wait until the device takes more than fills its buffer."""
        give_up_at_s = self._loop.time() + LOST_AFTER_S
        while self._buffer.position < 2 * self.latency_s * self.sample_rate_hz:
            if self._loop.time() > give_up_at_s:
                raise NoSoundDevice(
                    f"The loudspeaker {self._stream.device.name} takes no audio: choose another."
                )
            await asyncio.sleep(_LOOK_AGAIN_S)
