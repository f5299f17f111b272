"""What is asked of the pipeline in a session: replies, speculative or not, and transcripts."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from openai.types.realtime import (
    ConversationItemInputAudioTranscriptionCompletedEvent,
    ConversationItemInputAudioTranscriptionDeltaEvent,
    ConversationItemInputAudioTranscriptionFailedEvent,
    RealtimeResponseCreateParams,
)

from conversation.reply import Reply, TurnSource
from conversation.speculation import asking
from conversation.tasks import Tasks
from conversation.turn_record import TurnRecord
from conversation.turn_recorder import TurnRecorder
from gateway.realtime.events import ProtocolError, server_event
from gateway.realtime.items import GO_ON, Item, Items, messages_of
from gateway.realtime.outbox import Outbox
from gateway.realtime.response import Asked, Reason, Response, ResponseOptions
from gateway.realtime.session_config import SessionConfig
from shared.errors import SpeechError, StageFailed
from shared.ledger import Ledger
from shared.payloads import ChatMessage, Speech
from shared.turn import Failure, Models, TranscriptReady, TurnEnd, TurnEvent, TurnFailed, TurnRequest

logger = logging.getLogger(__name__)

MAX_OUT_OF_BAND = 4
"""Responses out of band that may be under way at once."""


@dataclass
class Answering:
    """Asks, and has what comes emitted: one response of the conversation at a time, and some out of band."""

    turns: TurnSource
    items: Items
    outbox: Outbox
    config: SessionConfig
    session_id: str
    on_record: Callable[[TurnRecord], None]
    tasks: Tasks = field(default_factory=Tasks)
    on_response_over: Callable[[Response], None] = lambda _: None
    active: Response | None = None
    """The conversation's response that is under way."""
    newest: Response | None = None
    """The conversation's newest response, over or not."""
    _out_of_band: dict[str, Response] = field(default_factory=dict)
    _waiting: deque[Asked] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._began_s = self._now()

    def recorder(self, began_s: float | None = None) -> TurnRecorder:
        """A recorder for a turn; the person began to speak then, or has written."""
        return TurnRecorder(self._now, self.session_id, self._began_s, began_s or self._now())

    # Turns

    def ask(
        self,
        question: Speech,
        recorder: TurnRecorder,
        *,
        transcribe_only: bool = False,
        certain_after_s: float | None = None,
    ) -> Asked:
        """Begin the turn of what was said; with `certain_after_s` speculatively, for this long at least."""
        earlier = list(self.items)
        options = self.config.transcription_options()
        if not transcribe_only:
            options = self.config.turn_options(RealtimeResponseCreateParams())

        async def request() -> TurnRequest:
            conversation = () if transcribe_only else await _conversation(earlier)
            more = {**options, "transcribe_only": transcribe_only, "session_id": self.session_id}
            return asking(question, conversation, certain_after_s, **more)

        return self._ask(question, request, recorder, transcribe_only=transcribe_only)

    def drop(self, asked: Asked) -> None:
        """The speaker goes on: this question was not all of it."""
        self.tasks.keep(asked.reply.drop())

    def answer(self, asked: Asked, item: Item) -> None:
        """Its question is certain and is this item: emit its response, or only its transcript."""
        asked.item = item
        if asked.transcribe_only:
            self._transcribe(asked)
        elif self.active:
            self._waiting.append(asked)
        else:
            self._respond(asked, RealtimeResponseCreateParams())

    def create(self, params: RealtimeResponseCreateParams, among: Sequence[Item] | None = None) -> None:
        """Begin a response to the conversation as it is, or to the items `among`. Raises ProtocolError."""
        out_of_band = params.conversation == "none"
        if self.active and not out_of_band:
            message = "A response is under way: wait for its response.done, or cancel it."
            raise ProtocolError(message, "conversation_already_has_active_response")
        if len(self._out_of_band) >= MAX_OUT_OF_BAND:
            raise ProtocolError("Too many responses out of band are under way.", "too_many_responses")
        if not self.config.responds:
            raise ProtocolError("A transcription session has no responses.")
        earlier = list(self.items) if among is None else list(among)
        options = self.config.turn_options(params)

        async def request() -> TurnRequest:
            conversation = await _conversation(earlier)
            if not conversation or conversation[-1].role not in ("user", "tool"):
                conversation += (ChatMessage(role="user", content=GO_ON),)
            return TurnRequest(conversation=conversation, session_id=self.session_id, **options)

        asked = self._ask(None, request, self.recorder(), transcribe_only=False)
        self._respond(asked, params)

    def cancel(self, reason: Reason, response_id: str | None = None) -> bool:
        """Cancel the conversation's response, or that of this id. Returns False if there is none."""
        response = self._out_of_band.get(response_id or "", self.active)
        if not response or response_id not in (None, response.response_id):
            return False
        self.tasks.keep(response.cancel(reason))
        self._ended(response)
        return True

    def silence(self) -> None:
        """Send no more of what has been synthesized."""
        if self.newest:
            self.outbox.drop_audio(self.newest.response_id)

    async def close(self) -> None:
        """Cancel everything that is under way, and wait for it. Nobody is called any more."""
        for response in [self.active, *self._out_of_band.values()]:
            if response:
                self.tasks.keep(response.cancel("client_cancelled"))
        for asked in self._waiting:
            self.tasks.keep(asked.reply.cancel())
        await self.tasks.end()
        # These refer back to here: without them a session is gone at once, and not when garbage is collected.
        self.newest = None
        self.on_response_over = lambda _: None

    def _ask(
        self,
        question: Speech | None,
        request: Callable[[], Awaitable[TurnRequest]],
        recorder: TurnRecorder,
        *,
        transcribe_only: bool,
    ) -> Asked:
        async def recorded() -> TurnRequest:
            try:
                asked.request = await request()
            except Exception as error:
                events.put_nowait(_failed(error))
                raise
            recorder.request_sent(asked.request)
            return asked.request

        events: asyncio.Queue[TurnEvent] = asyncio.Queue()
        reply = Reply(self._turns, question, recorded, recorder, events.put_nowait)
        asked = Asked(reply, events, transcribe_only)
        return asked

    async def _turns(self, request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        """The turn's events; whatever is raised becomes the last one."""
        try:
            async with aclosing(self.turns(request)) as events:
                async for event in events:
                    yield event
        except Exception as error:
            yield _failed(error)

    # What comes of them

    def _respond(self, asked: Asked, params: RealtimeResponseCreateParams) -> None:
        options = ResponseOptions(
            params=params,
            modalities=list(self.config.modalities(params)),
            audio_format=self.config.output_format(params),
            voice=self.config.voice(params),
            speed=self.config.speed,
        )
        in_conversation = params.conversation != "none"
        items = self.items if in_conversation else None
        item = asked.item
        on_transcript = (lambda text: self._transcribed(item, text)) if item else (lambda _: None)
        response = Response(self.outbox, items, options, asked, on_transcript)
        if in_conversation:
            self.active = self.newest = response
        else:
            self._out_of_band[response.response_id] = response
        task = response.start()
        asked.reply.release()
        self.tasks.keep(task)
        task.add_done_callback(lambda _: self._response_over(response, asked))

    def _response_over(self, response: Response, asked: Asked) -> None:
        self._ended(response)
        self.tasks.keep(asked.reply.cancel())
        if asked.item:
            self._end_transcript(asked, response.end)
        if self._waiting and not self.active:
            self._respond(self._waiting.popleft(), RealtimeResponseCreateParams())
        self.on_response_over(response)
        spoken = response.spoken_item
        played_s = (spoken.duration_s if spoken.played_s is None else spoken.played_s) if spoken else 0.0
        interrupted = response.end is None
        self.on_record(asked.reply.recorder.record(interrupted=interrupted, played_s=played_s))

    def _ended(self, response: Response) -> None:
        self._out_of_band.pop(response.response_id, None)
        if self.active is response:
            self.active = None

    def _transcribe(self, asked: Asked) -> None:
        async def transcribe() -> None:
            asked.reply.release()
            try:
                while not isinstance(event := await asked.events.get(), TurnEnd):
                    if isinstance(event, TranscriptReady):
                        self._transcribed(asked.item, event.text)
                self._end_transcript(asked, event)
            finally:
                self.tasks.keep(asked.reply.cancel())

        self.tasks.start(transcribe())

    def _end_transcript(self, asked: Asked, end: TurnEnd | None) -> None:
        """The turn is over; if there is no transcript yet, nobody spoke, or it failed, or was cancelled."""
        item, question = asked.item, asked.reply.question
        assert item
        assert item.transcribed
        if item.transcribed.is_set() or question is None:
            return
        if end is None:
            again = self.ask(question, self.recorder(), transcribe_only=True)
            again.item = item
            self._transcribe(again)
        elif isinstance(end, TurnFailed):
            self._transcription_failed(item, Failure.of(end))
        else:
            self._transcribed(item, "")

    def _transcribed(self, item: Item | None, text: str) -> None:
        if not item or not item.transcribed or item.transcribed.is_set():
            return
        duration_s = item.spoken_s
        item.set_transcript(text)
        if not self.config.transcribes:
            return
        place = {"item_id": item.item_id, "content_index": 0}
        if text:
            self.outbox.put(
                server_event(ConversationItemInputAudioTranscriptionDeltaEvent, delta=text, **place)
            )
        self.outbox.put(
            server_event(
                ConversationItemInputAudioTranscriptionCompletedEvent,
                transcript=text,
                usage={"type": "duration", "seconds": duration_s},
                **place,
            )
        )

    def _transcription_failed(self, item: Item, failure: Failure) -> None:
        item.set_transcript("")
        if self.config.transcribes:
            error = {"type": "server_error", "code": failure.kind, "message": failure.message}
            place = {"item_id": item.item_id, "content_index": 0}
            kind = ConversationItemInputAudioTranscriptionFailedEvent
            self.outbox.put(server_event(kind, error=error, **place))


def _failed(error: Exception) -> TurnFailed:
    """The end of a turn that raised this."""
    if not isinstance(error, SpeechError):
        logger.error("A turn failed in the gateway.", exc_info=error)
        error = StageFailed(f"The turn failed: {error!r}")
    nothing = {"ledger": Ledger(spans=(), total_us=0), "models": Models()}
    return TurnFailed(**Failure.of(error).model_dump(), **nothing)


async def _conversation(items: Sequence[Item]) -> tuple[ChatMessage, ...]:
    """The items as messages, once they are transcribed."""
    for one in items:
        if one.transcribed:
            await one.transcribed.wait()
    return messages_of(items)
