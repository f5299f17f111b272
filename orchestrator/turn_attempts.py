"""The events of a deployed turn, each once, although its orchestrator may be lost on the way."""

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
    TurnStarted,
)

logger = logging.getLogger(__name__)

_INTERRUPTED = "The orchestrator was interrupted. Send the request again."


async def deduplicated_events(
    run: Callable[[], AsyncGenerator[TurnEvent, None]], *, attempts: int
) -> AsyncGenerator[TurnEvent, None]:
    """Yield the events of one `run` of a turn; if its orchestrator is lost before the reply began, of a
    second run, without what has been yielded before.

    Raises AttemptLost if it is lost later, or too often; the events of two runs are never mixed. A platform
    that restarts a run by itself goes on with the second one's events, or ends without a TurnEnd.
    """
    seen = _SeenEvents()
    for attempts_left in reversed(range(attempts)):
        attempt_id = None
        try:
            async with aclosing(run()) as events:
                async for event in events:
                    attempt_id = attempt_id or event.attempt_id
                    if event.attempt_id != attempt_id:
                        raise AttemptLost(_INTERRUPTED)
                    if seen.is_new(event):
                        yield event
                    if isinstance(event, TurnEnd):
                        return
            raise AttemptLost(_INTERRUPTED)
        except AttemptLost as error:
            if seen.reply_began or not attempts_left:
                raise
            logger.warning("Retrying the turn: %s", error)


class _SeenEvents:
    """What has been yielded."""

    def __init__(self) -> None:
        self.reply_began = False
        self._started = False
        self._transcript: str | None = None

    def is_new(self, event: TurnEvent) -> bool:
        """Whether the event is none of an earlier run. Raises AttemptLost if the transcript differs."""
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
                self.reply_began = True
        return True
