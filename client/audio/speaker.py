"""Where replies are heard: a loudspeaker, or a file that gets what a loudspeaker would have said."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import numpy as np

from client.audio.playback_buffer import PlaybackBuffer
from client.audio.sample_queue import Samples
from client.audio.sound_devices import SoundDeviceLost
from client.audio.stream_resampler import StreamResampler
from client.errors import OutputNotWritten
from conversation.audio import SegmentPlayed
from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ

Played = Callable[[Samples], None]
"""Is told all that is played, silence too, at 16 kHz, when it is handed to the device. A device tells it
on the audio thread, so it must be quick: `EchoCanceller.far`."""

SAMPLE_RATE_HZ = 24_000
"""Chatterbox's rate; other voices are resampled."""
_LOOK_AGAIN_S = 0.01


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
    def first_audio_at_s(self) -> float | None:
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
        """Fall silent, within 100 ms at the latency that is the default; nothing is lost."""
        self._up_to_now()
        self._buffer.pause()

    def resume(self) -> None:
        """Go on where the sound was when it was paused."""
        self._up_to_now()
        self._buffer.resume()

    def clear(self) -> tuple[SegmentPlayed, ...]:
        """Drop the reply, and be ready for the next one; tells how much of each piece has been heard."""
        with suppress(SoundDeviceLost, OutputNotWritten):  # what is played next tells that
            self._up_to_now()
        self._resampler = None
        return self._buffer.clear()

    def heard(self) -> tuple[SegmentPlayed, ...]:
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
        return self._told(self._buffer.read(num_samples))

    def _no_sound(self, num_samples: int) -> Samples:
        return self._told(np.zeros(num_samples, np.float32))

    def _told(self, samples: Samples) -> Samples:
        if self._played:
            self._played(self._reference.convert(samples))
        return samples
