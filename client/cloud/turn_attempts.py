"""A deployed turn, told as one although its orchestrator may be lost on the way."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from shared.errors import AttemptLost
from shared.turn import (
    ReplyDelta,
    SpeechChunk,
    ToolCallRequested,
    TranscriptReady,
    TurnEnd,
    TurnEvent,
    TurnRequest,
    TurnStarted,
)

logger = logging.getLogger(__name__)

_INTERRUPTED = "The orchestrator was interrupted. Send the request again."


async def deduplicated_events(
    play: Callable[[TurnRequest], AsyncGenerator[TurnEvent, None]], request: TurnRequest, *, attempts: int
) -> AsyncGenerator[TurnEvent, None]:
    """Yield the events of a turn as `play` tells them; if its orchestrator is lost before it spoke, of the
    turn played anew. What was told before is not told again.

    Raises AttemptLost if it is lost later, or too often; the events of two runs are never mixed.
    """
    telling = _Telling()
    for attempts_left in reversed(range(attempts)):
        try:
            async with aclosing(_of_one_run(play(request))) as events:
                async for event in events:
                    if telling.is_new(event):
                        yield event
            return
        except AttemptLost as error:
            if telling.spoken or not attempts_left:
                raise
            logger.warning("The turn is tried again: %s", error)


async def _of_one_run(events: AsyncGenerator[TurnEvent, None]) -> AsyncGenerator[TurnEvent, None]:
    """The events of the first run. A platform that begins a turn anew goes on with the second run's tail,
    or without a word ends where that run tells less than the first had told."""
    attempt_id = None
    async with aclosing(events):
        async for event in events:
            attempt_id = attempt_id or event.attempt_id
            if event.attempt_id != attempt_id:
                raise AttemptLost(_INTERRUPTED)
            yield event
            if isinstance(event, TurnEnd):
                return
    raise AttemptLost(_INTERRUPTED)


class _Telling:
    """What the client has been told."""

    def __init__(self) -> None:
        self.spoken = False
        self._started = False
        self._transcript: str | None = None

    def is_new(self, event: TurnEvent) -> bool:
        """Note an event. Raises AttemptLost if a second run has heard something else than the first."""
        match event:
            case TurnStarted():
                new, self._started = not self._started, True
                return new
            case TranscriptReady(text=text):
                new, known = self._transcript is None, self._transcript
                self._transcript = text
                if not new and known != text:
                    raise AttemptLost(_INTERRUPTED)
                return new
            case ReplyDelta() | ToolCallRequested() | SpeechChunk():
                self.spoken = True
        return True
