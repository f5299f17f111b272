"""A recording as a microphone."""

import asyncio
from typing import Self

import numpy as np

from client.audio.audio_file import read_audio
from client.audio.microphone import SAMPLE_RATE_HZ
from client.audio.sample_queue import SampleQueue
from conversation.audio import Frame
from shared.audio.pcm import Pcm, resample
from shared.audio.vad import FRAME_S, FRAME_SAMPLES
from shared.settings import Settings

MAX_RECORDING_S = 3600.0


class FileMicrophone:
    """A recording heard at the pace of the event loop's clock, then silence until it is closed.

    Its frames come when they would have been spoken, counted from opening: no delay adds up, and who
    is late gets at once what is due.
    """

    lost_samples = 0
    xruns = 0
    latency_s = 0.0

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
        self._frames = 0
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        self._frames += 1
        due_s = self._opened_at_s + self._frames * FRAME_S
        await asyncio.sleep(max(0.0, due_s - self._loop.time()))
        if self._closed:
            raise StopAsyncIteration
        samples = self._left.take(FRAME_SAMPLES)
        return Frame(np.pad(samples, (0, FRAME_SAMPLES - samples.size)))
