"""Where speech comes from: frames of audio, of a device or of a recording."""

import asyncio
from abc import ABC, abstractmethod
from typing import Self

import numpy as np

from client.audio.audio_file import STANDARD_INPUT, read_audio
from client.audio.samples import SampleQueue
from conversation.audio import Frame
from shared.audio.decode import any_length
from shared.audio.pcm import Pcm, resample
from shared.audio.vad import FRAME_S, FRAME_SAMPLES
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import BadAudio
from shared.settings import Settings


class Microphone(ABC):
    """An async context manager that opens the microphone, and an endless async iterator of its frames.

    It records from when it is opened, and is iterated by one task.
    """

    latency_s = 0.0
    """How long audio takes from the air to a frame."""

    @property
    def ended(self) -> bool:
        """Whether nothing but silence can follow."""
        return False

    @property
    @abstractmethod
    def lost_samples(self) -> int:
        """How many samples at 16 kHz were lost in all."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *error: object) -> None: ...

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> Frame: ...


class FileMicrophone(Microphone):
    """A recording, at the pace of the event loop's clock, then silence.

    Its frames come when they would have been spoken, counted from opening: delays do not add up, and a
    reader that is late gets at once what is due.
    """

    lost_samples = 0

    def __init__(self, pcm: Pcm) -> None:
        self._left = SampleQueue()
        self._left.append(resample(pcm, ASR_SAMPLE_RATE_HZ).samples)

    @classmethod
    def of(cls, source: str, settings: Settings) -> Self:
        """The recording in a file, of up to an hour; blocking.

        Raises BadAudio or TooLong, with what is wrong.
        """
        if source == STANDARD_INPUT:  # it would be read to its end before the conversation begins
            raise BadAudio("A conversation cannot be read from standard input: name a file, or a device.")
        return cls(read_audio(source, any_length(settings)))

    @property
    def ended(self) -> bool:
        """Whether the recording is over, and only silence follows."""
        return not len(self._left)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._opened_at_s = self._loop.time()
        self._frames = 0
        return self

    async def __aexit__(self, *error: object) -> None:
        """There is nothing to close."""

    async def __anext__(self) -> Frame:
        self._frames += 1
        due_s = self._opened_at_s + self._frames * FRAME_S
        await asyncio.sleep(max(0.0, due_s - self._loop.time()))
        samples = self._left.take(FRAME_SAMPLES)
        return Frame(np.pad(samples, (0, FRAME_SAMPLES - samples.size)))
