"""Asking: a turn begins at the first pause, inaudibly, and is kept if the speaker has finished.

LiveKit calls this preemptive generation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from conversation.memory import ConversationMemory
from conversation.reply import OnEvent, Reply, TurnSource
from conversation.tasks import Tasks
from conversation.turn_recorder import TurnRecorder
from shared.payloads import ChatMessage, Mp3Audio, Speech
from shared.turn import TurnRequest


def asking(
    question: Speech, conversation: Sequence[ChatMessage], certain_after_s: float | None, **options: Any
) -> TurnRequest:
    """The request of a question that is certain to be complete; given a time, no sooner than after that."""
    return TurnRequest(
        audio=question,
        conversation=tuple(conversation),
        speculative=certain_after_s is not None,
        second_chunk_after_s=certain_after_s or 0.0,
        **options,
    )


@dataclass
class Asking:
    """Asks the questions of one conversation, speculatively or not."""

    turns: TurnSource
    memory: ConversationMemory
    tasks: Tasks
    emit: OnEvent
    options: dict[str, str]
    """More fields of each request."""
    _speculation: Reply | None = field(default=None, init=False)

    def speculate(self, question: Mp3Audio, recorder: TurnRecorder, *, certain_after_s: float) -> None:
        """Ask what may be all of a question; it is certain no sooner than after this time."""
        self._speculation = self._ask(question, recorder, certain_after_s)

    def ask(self, question: Mp3Audio, recorder: TurnRecorder) -> Reply:
        """Ask a question that is certain to be complete, if that was not done speculatively."""
        reply, self._speculation = self._speculation or self._ask(question, recorder), None
        reply.release()
        return reply

    def drop_speculation(self) -> None:
        """The speaker goes on: the next request has all of this one's audio."""
        if self._speculation:
            self.tasks.keep(self._speculation.drop())
            self._speculation = None

    def _ask(self, question: Mp3Audio, recorder: TurnRecorder, certain_after_s: float | None = None) -> Reply:
        async def request() -> TurnRequest:
            await self.memory.complete()
            request = asking(question, self.memory.messages, certain_after_s, **self.options)
            recorder.request_sent(request)
            return request

        return Reply(self.turns, question, request, recorder, self.emit)
