"""Where speech comes from: frames of audio, of a device or of a recording."""

from typing import Protocol, Self

from conversation.audio import Frame
from shared.engines import ASR_SAMPLE_RATE_HZ

SAMPLE_RATE_HZ = ASR_SAMPLE_RATE_HZ


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

    @property
    def xruns(self) -> int:
        """How often the device reported that it had lost audio itself."""

    @property
    def latency_s(self) -> float:
        """How long audio takes from the air to a frame."""

    def close(self) -> None:
        """Let the iteration end."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Frame: ...
