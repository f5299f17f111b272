"""A stream of sound from or to a device, at a rate and of a number of channels that the device takes."""

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.audio.sample_queue import Samples
from client.audio.sound_devices import Direction, NoSoundDevice, SoundDevice, find_device, portaudio_library

BLOCK_S = {Direction.INPUT: 0.032, Direction.OUTPUT: 0.01}
"""How much an audio callback gets, a window, or gives: short, as a pause waits for the block under way."""
LATENCY_S = {Direction.INPUT: 0.2, Direction.OUTPUT: 0.06}
"""What the device's own buffer is asked to hold. Of output all of it is heard before a pause is; more than
0.06 s would make that 100 ms. With eight busy processes on two cores PulseAudio ran dry in most runs at 0.04
to 0.07 s, and in none at 0.2 s. Of input it is room for a late callback, no delay."""

_portaudio = Lock()
"""PortAudio opens and closes streams on one thread at a time."""


class SoundStream:
    """A stream of mono float32; blocking to open and to close.

    `heard(samples)` or `wanted(num_samples) -> samples` is called on PortAudio's own thread, and must
    not block. Raises NoSoundDevice if there is no such device or it cannot be opened.
    """

    def __init__(
        self,
        direction: Direction,
        name: str | None,
        sample_rate_hz: int,
        *,
        latency_s: float | None = None,
        heard: Callable[[Samples], None] | None = None,
        wanted: Callable[[int], Samples] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        with _portaudio:
            portaudio = portaudio_library()
            self.device = find_device(direction, name)
            self._latency_s = latency_s or LATENCY_S[direction]
            self._heard, self._wanted, self._ended = heard, wanted, ended
            self.xruns = 0
            """Blocks at which the device said that it had lost sound or run dry."""
            self._stream = self._opened(portaudio, sample_rate_hz)
            self.sample_rate_hz: int = round(self._stream.samplerate)
            self.latency_s: float = self._stream.latency
            """PortAudio's word for how long the sound is on its way between the device and the callback."""

    def start(self) -> None:
        """Let it run; from now on the callback is called. Raises NoSoundDevice if it does not."""
        with _portaudio:
            try:
                self._stream.start()
            except portaudio_library().PortAudioError as error:
                raise self._cannot_be_opened(error) from error

    @property
    def active(self) -> bool:
        """Whether PortAudio still runs it."""
        return bool(self._stream.active)

    def close(self) -> None:
        """End it at once, with what has not been played."""
        with _portaudio:
            self._stream.close(ignore_errors=True)

    def _opened(self, portaudio: Any, sample_rate_hz: int) -> Any:
        kind = portaudio.InputStream if self.device.direction is Direction.INPUT else portaudio.OutputStream
        callback = self._take if self.device.direction is Direction.INPUT else self._give
        reason: Exception | None = None
        for rate_hz, channels in _formats(self.device, sample_rate_hz):
            try:
                return kind(
                    samplerate=rate_hz,
                    blocksize=round(BLOCK_S[self.device.direction] * rate_hz),
                    device=self.device.index,
                    channels=channels,
                    dtype="float32",
                    latency=self._latency_s,
                    callback=callback,
                    finished_callback=self._ended,
                )
            except portaudio.PortAudioError as error:
                reason = reason or error
        raise self._cannot_be_opened(reason)

    def _cannot_be_opened(self, reason: Exception | None) -> NoSoundDevice:
        kind = self.device.direction.device_kind
        return NoSoundDevice(f"The {kind} {self.device.name} cannot be opened: {reason}")

    def _take(self, block: NDArray[np.float32], _num_samples: int, _time: object, status: object) -> None:
        self.xruns += bool(status)
        if self._heard:
            self._heard(block.mean(axis=1, dtype=np.float32))

    def _give(self, block: NDArray[np.float32], num_samples: int, _time: object, status: object) -> None:
        self.xruns += bool(status)
        if self._wanted:
            block[:] = self._wanted(num_samples)[:, np.newaxis]


def _formats(device: SoundDevice, sample_rate_hz: int) -> list[tuple[int, int]]:
    """Rates and channels to try: the wanted rate, then the device's own, and mono before stereo."""
    rates = dict.fromkeys((sample_rate_hz, device.sample_rate_hz))
    return [(rate, channels) for rate in rates for channels in (1, 2) if channels <= device.channels]
