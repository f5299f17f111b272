"""A loudspeaker of this machine."""

import asyncio
from typing import Self

from client.audio.refill import Refill
from client.audio.sample_queue import Samples
from client.audio.sound_devices import Direction, NoSoundDevice, SoundDevice, SoundDeviceLost
from client.audio.sound_stream import LATENCY_S, SoundStream
from client.audio.speaker import SAMPLE_RATE_HZ, Played, Speaker

LOST_AFTER_S = 5.0
"""A device that has taken nothing for so long is gone. PulseAudio stood still for 2.0 s after opening."""
_LOOK_AGAIN_S = 0.01
_LAST_SOUND_S = 0.1
"""Closed at once, the last 45 ms were not heard (PortAudio 19.6 on PulseAudio's ALSA device)."""


class DeviceSpeaker(Speaker):
    """A loudspeaker of this machine, by (a part of) its name; the default one without.

    Opened at the device's own rate where it does not take `sample_rate_hz`. Opening waits until the
    device takes sound. Raises NoSoundDevice.

    Less latency than LATENCY_S makes a pause quicker, more spares a busy machine gaps (`xruns`).
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
    def xruns(self) -> int:
        """How often the device said that it had run dry itself."""
        return self._stream.xruns

    @property
    def underruns(self) -> int:
        """How often a reply had a gap: a piece came too late, or the device ran dry."""
        return self._buffer.underruns + self._gaps

    @property
    def first_audio_at_s(self) -> float | None:
        """The event loop's time at which the reply began to sound; None until then and once cleared."""
        sample, at_s = self._begun
        return at_s + self.latency_s if sample is not None and sample == self._buffer.begun_at else None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._taken_at_s = self._loop.time()
        self._begun: tuple[int | None, float] = (None, 0.0)  # the reply's first sample, and when it was taken
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
        self._refill = Refill(round(self.latency_s * self.sample_rate_hz))
        self._gaps = 0
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
        self._taken_at_s = self._loop.time()
        self._gaps += self._refill.begins(self._stream.xruns) and self._buffer.sounding
        if self._refill.takes(num_samples):
            return self._no_sound(num_samples)
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
                raise NoSoundDevice(f"The loudspeaker {self.device.name} takes no sound: choose another.")
            await asyncio.sleep(_LOOK_AGAIN_S)

    def _up_to_now(self) -> None:
        if not self._stream.active or self._loop.time() - self._taken_at_s > LOST_AFTER_S:
            raise SoundDeviceLost(
                f"The loudspeaker {self.device.name} takes no more sound: is it still plugged in?"
            )
