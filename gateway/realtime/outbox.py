"""What a session has to send: in order, bounded, and without its reader's holding anybody else."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel


class SlowReader(Exception):
    """The client does not read what it is sent."""


@dataclass(frozen=True, slots=True)
class _Message:
    text: str
    audio_of: str | None


class Outbox:
    """Sends messages in order, in the task that runs `run`.

    `put` always takes the message; whoever makes many waits for `room` before each. So a slow reader holds
    back its own session's work, which ends with SlowReader if nothing can be sent for `timeout_s`.
    """

    def __init__(
        self, send: Callable[[str], Awaitable[None]], *, max_characters: int, timeout_s: float
    ) -> None:
        self._send = send
        self._max_characters = max_characters
        self._timeout_s = timeout_s
        self._messages: deque[_Message] = deque()
        self._characters = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    def put(self, event: BaseModel, *, audio_of: str | None = None) -> None:
        """Send this event in its turn; `audio_of`: the response whose audio it is."""
        message = _Message(event.model_dump_json(exclude_unset=True), audio_of)
        self._messages.append(message)
        self._count(len(message.text))
        self._wake.set()

    async def room(self) -> None:
        """Wait until fewer than `max_characters` wait to be sent."""
        await self._room.wait()

    def drop_audio(self, response_id: str) -> None:
        """The listener interrupts this response: do not send what is left of its audio."""
        kept = [message for message in self._messages if message.audio_of != response_id]
        dropped = sum(len(message.text) for message in self._messages) - sum(len(one.text) for one in kept)
        self._messages = deque(kept)
        self._count(-dropped)

    def close(self) -> None:
        """`run` ends once all has been sent."""
        self._closed = True
        self._wake.set()

    async def run(self) -> None:
        """Send until closed. Raises SlowReader."""
        while True:
            while self._messages:
                message = self._messages.popleft()
                try:
                    async with asyncio.timeout(self._timeout_s):
                        await self._send(message.text)
                except TimeoutError:
                    raise SlowReader from None
                self._count(-len(message.text))
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()

    def _count(self, characters: int) -> None:
        self._characters += characters
        if self._characters < self._max_characters:
            self._room.set()
        else:
            self._room.clear()
