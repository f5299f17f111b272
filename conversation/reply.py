"""The reply to one request, as it comes: kept to itself until it is certain that it is wanted."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from client.turn_source import TurnSource
from shared.audio.decode import to_pcm
from shared.errors import SpeechError
from shared.payloads import Mp3Audio
from shared.turn import SpeechChunk, TranscriptReady, TurnEvent, TurnRequest

OnEvent = Callable[[TurnEvent], None]


class Reply:
    """Plays a request, from its making to `cancel` or to its end.

    Each event goes to `noted` as it comes, and to `told` once the reply is released; the speech of what is
    told is Pcm.
    """

    def __init__(self, turns: TurnSource, request: TurnRequest, *, noted: OnEvent, told: OnEvent) -> None:
        self.request = request
        self.transcript = ""
        self.error: SpeechError | None = None
        """Why no last event came, where none did."""
        self._noted = noted
        self._told = told
        self._held: list[TurnEvent] | None = []
        self._following = asyncio.create_task(self._follow(turns(request)))

    @property
    def ended(self) -> bool:
        """Whether nothing more will come. Raises what nobody expected, or what stood against telling it, if
        that is why."""
        if not self._following.done():
            return False
        if not self._following.cancelled():
            self._following.result()
        return True

    def release(self) -> None:
        """Tell what has come, and from now on everything as it comes."""
        held, self._held = self._held or [], None
        for event in held:
            self._told(event)

    def cancel(self) -> "asyncio.Task[None]":
        """Stop it in all its stages. Nothing more is noted or told; the task ends when it has stopped."""
        self._noted = self._told = _to_nobody
        self._following.cancel()
        return self._following

    async def _follow(self, events: AsyncGenerator[TurnEvent, None]) -> None:
        async with aclosing(self._noted_and_decoded(events)) as ready:
            async for event in ready:
                if self._held is None:
                    self._told(event)
                else:
                    self._held.append(event)

    async def _noted_and_decoded(
        self, events: AsyncGenerator[TurnEvent, None]
    ) -> AsyncGenerator[TurnEvent, None]:
        try:
            async with aclosing(events):
                async for event in events:
                    self._noted(event)
                    if isinstance(event, TranscriptReady):
                        self.transcript = event.text
                    yield await _decoded(event)
        except SpeechError as error:
            self.error = error


async def _decoded(event: TurnEvent) -> TurnEvent:
    """With the speech in it as Pcm."""
    if isinstance(event, SpeechChunk) and isinstance(event.audio, Mp3Audio):
        return event.model_copy(update={"audio": await asyncio.to_thread(to_pcm, event.audio)})
    return event


def _to_nobody(event: TurnEvent) -> None:
    """For events of a reply that is no longer wanted."""
