"""Where speech comes from: windows of sound, whether of a device or of a recording."""

from typing import Protocol, Self

from client.audio.sample_queue import Samples
from services.host.vad_gate import WINDOW_SAMPLES
from shared.engines import ASR_SAMPLE_RATE_HZ

Window = Samples
"""float32 (512,): 32 ms of 16 kHz mono."""

SAMPLE_RATE_HZ = ASR_SAMPLE_RATE_HZ
WINDOW_S = WINDOW_SAMPLES / SAMPLE_RATE_HZ


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
