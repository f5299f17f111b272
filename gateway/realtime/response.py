"""One response: a reply's events become those of the protocol, in the documented order."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from openai.types.realtime import (
    ConversationItemAdded,
    ConversationItemDone,
    RealtimeConversationItemFunctionCall,
    RealtimeResponse,
    RealtimeResponseCreateParams,
    RealtimeResponseStatus,
    ResponseCreatedEvent,
    ResponseDoneEvent,
    ResponseFunctionCallArgumentsDeltaEvent,
    ResponseFunctionCallArgumentsDoneEvent,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
)

from conversation.reply import Reply
from gateway.realtime.audio import PIECE_S, AudioFormat, OutputAudio
from gateway.realtime.events import ProtocolError, new_id, server_event
from gateway.realtime.items import Item, Items
from gateway.realtime.message_output import MessageOutput
from gateway.realtime.outbox import Outbox
from gateway.realtime.response_usage import usage_of
from shared.audio.pcm import Pcm, split
from shared.errors import SpeechError
from shared.payloads import ToolCall
from shared.turn import (
    Failure,
    NoSpeechDetected,
    ReplyDelta,
    SpeechChunk,
    ToolCallRequested,
    TranscriptReady,
    TurnCompleted,
    TurnEnd,
    TurnEvent,
    TurnFailed,
    TurnRequest,
)

logger = logging.getLogger(__name__)


@dataclass
class Asked:
    """A turn that has been begun. `events` are what has come of it since it was released; nothing follows a
    TurnEnd. `item` is the question's, once it is in the conversation."""

    reply: Reply
    events: "asyncio.Queue[TurnEvent]"
    transcribe_only: bool
    request: TurnRequest | None = None
    item: Item | None = None


Reason = Literal["turn_detected", "client_cancelled"]


@dataclass(frozen=True, kw_only=True)
class ResponseOptions:
    """What a response is to be; `metadata` is the client's, echoed."""

    params: RealtimeResponseCreateParams
    modalities: list[str]
    audio_format: AudioFormat
    voice: str
    speed: float

    @property
    def spoken(self) -> bool:
        """Whether it is speech, and not text alone."""
        return self.modalities == ["audio"]


class Response:
    """One response under way, in the task of `run`.

    Args:
        items: where its items go; None for a response out of band.
        on_transcript: called with the question's transcript.
    """

    def __init__(
        self,
        outbox: Outbox,
        items: Items | None,
        options: ResponseOptions,
        asked: Asked,
        on_transcript: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.response_id = new_id("resp")
        self.options = options
        self.asked = asked
        self.first_audio_s: float | None = None
        """When the first audio was sent, by the event loop's clock."""
        self.over = False
        self.end: TurnEnd | None = None
        """How its turn ended; None while it goes on, and if it was cancelled."""
        self._outbox, self._items = outbox, items
        self._on_transcript = on_transcript
        self._output: list[Item] = []
        self._message: MessageOutput | None = None
        self._audio: OutputAudio | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def spoken_item(self) -> Item | None:
        """The item with its speech, if there is any."""
        return next((item for item in self._output if item.segments), None)

    @property
    def played_until_s(self) -> float:
        """When its speech so far has been played, if that was begun at once, by the event loop's clock."""
        item = self.spoken_item
        return self.first_audio_s + item.duration_s if item and self.first_audio_s is not None else 0.0

    def start(self) -> "asyncio.Task[None]":
        """Emit its beginning, and the rest as it comes."""
        self._put(ResponseCreatedEvent, response=self._state("in_progress"))
        self._task = asyncio.create_task(self._run())
        return self._task

    def cancel(self, reason: Reason) -> "asyncio.Task[None]":
        """End it now; no audio of it is sent any more. The returned task ends when its turn has ended."""
        assert self._task
        self._task.cancel()
        self._outbox.drop_audio(self.response_id)
        self._finish("cancelled", RealtimeResponseStatus(type="cancelled", reason=reason))
        return self.asked.reply.cancel()

    async def _run(self) -> None:
        try:
            self.end = end = await self._follow()
        except (ProtocolError, SpeechError) as error:
            self._outbox.drop_audio(self.response_id)
            code = error.code if isinstance(error, ProtocolError) else error.kind
            self._fail(code, error.message)
            return
        except Exception as error:
            logger.exception("A response failed in the gateway.")
            self._fail("internal_error", f"The server failed: {error!r}")
            return
        if isinstance(end, TurnFailed):
            self._fail(end.kind, Failure.of(end).message)
        elif isinstance(end, TurnCompleted) and end.at_limit:
            self._finish("incomplete", RealtimeResponseStatus(type="incomplete", reason="max_output_tokens"))
        else:
            self._finish("completed")

    async def _follow(self) -> TurnEnd:
        calls: list[ToolCall] = []
        while True:
            event = await self.asked.events.get()
            await self._outbox.room()
            match event:
                case TranscriptReady(text=text):
                    self._on_transcript(text)
                case ReplyDelta(text=text):
                    self._begun_message().write(text)
                case SpeechChunk():
                    await self._speak(event)
                case ToolCallRequested(call=call):
                    calls.append(call)
                case TurnCompleted():
                    await self._end_message()
                    for one in calls:  # behind the message: clients run tools when their item is done
                        self._call(one)
                    return event
                case NoSpeechDetected() | TurnFailed():
                    return event

    async def _speak(self, chunk: SpeechChunk) -> None:
        message = self._begun_message()
        assert isinstance(chunk.audio, Pcm), "a reply decodes"
        assert self._audio, "it is spoken"
        message.speak(chunk)
        rest = chunk.audio
        if self.first_audio_s is None:  # without a thread, and without waiting for what follows
            first, rest = split(chunk.audio, PIECE_S)
            await self._play(message, self._audio.pieces(first))
        await self._play(message, await asyncio.to_thread(self._audio.pieces, rest))
        self.asked.reply.forget_speech()

    async def _play(self, message: MessageOutput, pieces: list[str]) -> None:
        for piece in pieces:
            await self._outbox.room()
            if self.first_audio_s is None:
                self.first_audio_s = asyncio.get_running_loop().time()
                self.asked.reply.recorder.first_audio(self.first_audio_s)
            message.play(piece)

    def _begun_message(self) -> MessageOutput:
        if not self._message:
            self._audio = (
                OutputAudio(self.options.audio_format, self.options.speed) if self.options.spoken else None
            )
            message = MessageOutput(self._outbox, self.response_id, len(self._output), self._audio)
            self._add(message.item)
            self._message = message
            message.begin()
        return self._message

    async def _end_message(self) -> None:
        if self._message:
            if self._audio:
                await self._play(self._message, await asyncio.to_thread(self._audio.rest))
            self._close_message(complete=True)

    def _close_message(self, *, complete: bool) -> None:
        message, self._message = self._message, None
        if message:
            message.end(complete=complete)
            self._done(message.item)

    def _call(self, call: ToolCall) -> None:
        begun = RealtimeConversationItemFunctionCall(
            id=new_id("item"),
            object="realtime.item",
            type="function_call",
            status="in_progress",
            call_id=call.call_id,
            name=call.name,
            arguments="",
        )
        item = Item(begun)
        place = {"response_id": self.response_id, "item_id": item.item_id, "output_index": len(self._output)}
        place["call_id"] = call.call_id
        self._add(item)
        self._put(ResponseFunctionCallArgumentsDeltaEvent, delta=call.arguments, **place)
        arguments = {"arguments": call.arguments}
        self._put(ResponseFunctionCallArgumentsDoneEvent, name=call.name, **arguments, **place)
        item.item = begun.model_copy(update={"status": "completed", **arguments})
        self._done(item)

    def _add(self, item: Item) -> None:
        if self._items is not None:
            self._items.add(item)
        self._put(
            ResponseOutputItemAddedEvent,
            response_id=self.response_id,
            output_index=len(self._output),
            item=item.item,
        )
        self._output.append(item)
        if self._items is not None:
            self._put(ConversationItemAdded, item=item.item, previous_item_id=self._items.previous_id(item))

    def _done(self, item: Item) -> None:
        output_index = self._output.index(item)
        self._put(
            ResponseOutputItemDoneEvent,
            response_id=self.response_id,
            output_index=output_index,
            item=item.item,
        )
        if self._items is not None and item in self._items:
            self._put(ConversationItemDone, item=item.item, previous_item_id=self._items.previous_id(item))

    def _fail(self, code: str, message: str) -> None:
        error = {"type": "server_error", "code": code, "message": message}
        self._finish("failed", RealtimeResponseStatus.model_validate({"type": "failed", "error": error}))

    def _finish(self, status: str, details: RealtimeResponseStatus | None = None) -> None:
        if self.over:
            return
        self.over = True
        if self._audio:
            self._audio.close()
        self._close_message(complete=status == "completed")
        self._put(ResponseDoneEvent, response=self._state(status, details))

    def _state(self, status: str, details: RealtimeResponseStatus | None = None) -> RealtimeResponse:
        params = self.options.params
        fields: dict[str, Any] = {
            "id": self.response_id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": [item.item for item in self._output],
            "output_modalities": self.options.modalities,
            "metadata": params.metadata,
        }
        if self._items is not None:
            fields["conversation_id"] = self._items.conversation_id
        if self.options.spoken:
            output = {"format": self.options.audio_format.config, "voice": self.options.voice}
            fields["audio"] = {"output": output}
        if status != "in_progress":
            fields["usage"] = usage_of(self.asked.request, self._output)
        return RealtimeResponse(**fields)

    def _put(self, kind: Any, **fields: Any) -> None:
        self._outbox.put(server_event(kind, **fields))
