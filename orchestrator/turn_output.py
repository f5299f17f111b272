"""What comes out of a turn while it runs: its events, its ledger, and its line in the log."""

import asyncio
from collections.abc import Sequence

from orchestrator.turn_log import TurnLog
from shared.errors import Stage
from shared.ledger import Activity, LedgerClock
from shared.payloads import ToolCall
from shared.settings import Settings
from shared.stage_stream import StageFinished, StageStarted
from shared.turn import ReplyDelta, SpeechChunk, StageWaiting, ToolCallRequested, TurnEvent, TurnRequest


class TurnOutput:
    """The output of one turn. Its stage calls report to it.

    The queue of events is bounded: a client that does not take its events delays its own turn, and nothing
    else.
    """

    def __init__(self, request: TurnRequest, settings: Settings) -> None:
        self.clock = LedgerClock(asyncio.get_running_loop().time)
        self.log = TurnLog(request)
        self.segments = 0
        """How many audio segments have gone out."""
        self.at_limit = False
        """Whether the reply ended since it was as long as it may be."""
        self._spoken = request.spoken
        self._events: asyncio.Queue[TurnEvent | None] = asyncio.Queue(settings.max_undelivered_events)
        self._closed = False
        self._pending_text = ""
        self._emitting_text = asyncio.Lock()
        self._first_text: list[tuple[Activity, int, int | None]] = []

    @property
    def delivered(self) -> int:
        """How much of the reply has gone out: audio segments, or characters of one that is not spoken."""
        return self.segments if self._spoken else len(self.log.reply)

    async def next_event(self) -> TurnEvent | None:
        """The next event; None if the output has been closed and holds no more."""
        if self._closed and self._events.empty():
            return None
        return await self._events.get()

    def close(self) -> None:
        """No event follows."""
        self._closed = True
        if not self._events.full():
            self._events.put_nowait(None)

    async def emit(self, event: TurnEvent) -> None:
        """Queue an event."""
        await self._events.put(event)

    def begin_reply(self) -> None:
        """A reply begins; what is left of an earlier attempt is dropped."""
        self._pending_text, self._first_text, self.at_limit = "", [], False

    async def add_text(self, text: str, elapsed_us: int) -> None:
        """Take the reply's next text. It is emitted once the reply is being spoken, or at once if it will not
        be."""
        if text and not self._pending_text and not self.log.reply:
            self._first_text.append(("first token", self.clock.now_us(), elapsed_us))
        self._pending_text += text
        if self.segments or not self._spoken:
            await self.emit_text()

    async def emit_text(self) -> None:
        """Emit the text that has not been emitted; its order holds, whoever calls."""
        async with self._emitting_text:
            text, self._pending_text = self._pending_text, ""
            if text:
                self.log.reply += text
                await self.emit(ReplyDelta(text=text))

    async def emit_tool_calls(self, calls: Sequence[ToolCall]) -> None:
        """Emit the reply's tool calls."""
        self.log.tool_calls += len(calls)
        for call in calls:
            await self.emit(ToolCallRequested(call=call))

    async def emit_speech(self, chunk: SpeechChunk) -> None:
        """Emit an audio segment, behind the text so far."""
        self.segments += 1
        self.log.speech_s += chunk.audio.duration_s
        await self.emit_text()
        await self.emit(chunk)
        self.clock.lap(Stage.ORCHESTRATOR, "delivery")
        self.clock.first_audio()

    def book_text(self) -> None:
        """Book the wait for a chunk's text; for the first one, as start, first token and the rest of it."""
        for activity, until_us, callee_us in self._first_text:
            self.clock.lap(Stage.LLM, activity, until_us=until_us, callee_us=callee_us)
        self._first_text.clear()
        self.clock.lap(Stage.LLM, "work")

    def waiting(self, stage: Stage) -> None:
        """A stage takes long to start: a cold start or a queue."""
        if not self._events.full():
            self._events.put_nowait(StageWaiting(stage=stage))

    def started(self, stage: Stage, item: StageStarted) -> None:
        """A stage has started."""
        self.log.models = self.log.models.model_copy(update={stage.value: item.model})
        if item.cold and stage not in self.log.cold:
            self.log.cold.append(stage)
        if stage is not Stage.LLM:  # the LLM's time is read beside the critical path, see book_text
            self.clock.lap(stage, "start")
        elif not self.segments:
            self._first_text.append(("start", self.clock.now_us(), None))

    def finished(self, stage: Stage, item: StageFinished) -> None:
        """A stage call has ended well."""
        self.clock.busy(stage, item.busy_us)
        if item.tokens and item.tokens.at_limit:
            self.at_limit = True
