"""A stream of audio from or to a device, at a rate and of a number of channels that the device takes."""

import asyncio
from collections.abc import Callable
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from client.audio.sound_devices import Direction, NoSoundDevice, SoundDevice, find_device, portaudio_library
from conversation.audio import Samples

BLOCK_S = {Direction.INPUT: 0.032, Direction.OUTPUT: 0.01}
"""The length of an audio callback's block, a frame of input; of output short, as a pause waits for the block
under way."""
LATENCY_S = {Direction.INPUT: 0.2, Direction.OUTPUT: 0.06}
"""The length of the device's own buffer. Of output all of it is audible before a pause is; more than 0.06 s
would make that 100 ms. With eight busy processes on two cores PulseAudio underran in most runs at 0.04 to
0.07 s, and in none at 0.2 s. Of input it is room for a late callback, no delay."""

OnInput = Callable[[Samples, bool], None]
"""Called with each block, and whether the device has lost audio before it."""
OnOutput = Callable[[int, bool], Samples]
"""Called with the number of samples that are needed, and whether the device has underrun."""

_portaudio = Lock()
"""PortAudio opens and closes streams on one thread at a time."""


class SoundStream:
    """A stream of mono float32; blocking to start and to close.

    `on_input` or `on_output` is called on PortAudio's own thread, and must not block.
    """

    @classmethod
    async def opened(
        cls, direction: Direction, name: str | None, sample_rate_hz: int, **options: Any
    ) -> Self:
        """Open one in a thread; if the caller is cancelled meanwhile, it is closed again.

        Raises NoSoundDevice if there is no such device or it cannot be opened.
        """
        opening = asyncio.create_task(asyncio.to_thread(cls, direction, name, sample_rate_hz, **options))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            await asyncio.wait([opening])
            raise

    def __init__(
        self,
        direction: Direction,
        name: str | None,
        sample_rate_hz: int,
        *,
        latency_s: float | None = None,
        on_input: OnInput | None = None,
        on_output: OnOutput | None = None,
        on_ended: Callable[[], None] | None = None,
    ) -> None:
        with _portaudio:
            portaudio = portaudio_library()
            self.device = find_device(direction, name)
            self._on_input, self._on_output, self._on_ended = on_input, on_output, on_ended
            self._stream = self._opened(portaudio, sample_rate_hz, latency_s or LATENCY_S[direction])
            self.sample_rate_hz: int = round(self._stream.samplerate)
            self.latency_s: float = self._stream.latency
            """How long audio takes between the device and the callback, as PortAudio reports it."""

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

    def _opened(self, portaudio: Any, sample_rate_hz: int, latency_s: float) -> Any:
        direction = self.device.direction
        kind = portaudio.InputStream if direction is Direction.INPUT else portaudio.OutputStream
        reason: Exception | None = None
        for rate_hz, channels in _formats(self.device, sample_rate_hz):
            try:
                return kind(
                    samplerate=rate_hz,
                    blocksize=round(BLOCK_S[direction] * rate_hz),
                    device=self.device.index,
                    channels=channels,
                    dtype="float32",
                    latency=latency_s,
                    callback=self._input if direction is Direction.INPUT else self._output,
                    finished_callback=self._on_ended,
                )
            except portaudio.PortAudioError as error:
                reason = reason or error
        raise self._cannot_be_opened(reason)

    def _cannot_be_opened(self, reason: Exception | None) -> NoSoundDevice:
        kind = self.device.direction.device_kind
        return NoSoundDevice(f"The {kind} {self.device.name} cannot be opened: {reason}")

    def _input(self, block: NDArray[np.float32], _num_samples: int, _time: object, status: Any) -> None:
        if self._on_input:
            self._on_input(block.mean(axis=1, dtype=np.float32), bool(status.input_overflow))

    def _output(self, block: NDArray[np.float32], num_samples: int, _time: object, status: Any) -> None:
        if self._on_output:
            block[:] = self._on_output(num_samples, bool(status.output_underflow))[:, np.newaxis]


def _close_opened(opening: "asyncio.Task[SoundStream]") -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result().close()


def _formats(device: SoundDevice, sample_rate_hz: int) -> list[tuple[int, int]]:
    """Rates and channels to try: the wanted rate, then the device's own, and mono before stereo."""
    rates = dict.fromkeys((sample_rate_hz, device.sample_rate_hz))
    return [(rate, channels) for rate in rates for channels in (1, 2) if channels <= device.channels]
