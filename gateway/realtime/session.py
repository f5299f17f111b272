"""One session: each event of its client is followed, one after another, and answered by the protocol."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from openai.types.realtime import (
    ConversationItem,
    ConversationItemAdded,
    ConversationItemCreateEvent,
    ConversationItemDeletedEvent,
    ConversationItemDeleteEvent,
    ConversationItemDone,
    ConversationItemRetrieveEvent,
    ConversationItemTruncatedEvent,
    ConversationItemTruncateEvent,
    InputAudioBufferAppendEvent,
    InputAudioBufferClearedEvent,
    InputAudioBufferClearEvent,
    InputAudioBufferCommitEvent,
    OutputAudioBufferClearEvent,
    RealtimeClientEvent,
    ResponseCancelEvent,
    SessionCreatedEvent,
    SessionUpdatedEvent,
    SessionUpdateEvent,
)
from openai.types.realtime.realtime_server_event import ConversationItemRetrieved
from openai.types.realtime.response_item_reference import ResponseItemReference
from pydantic import JsonValue

from conversation.turn_record import TurnRecord
from gateway.backend import Backend
from gateway.realtime.answering import Answering
from gateway.realtime.audio import whole_audio
from gateway.realtime.events import (
    ProtocolError,
    ResponseCreate,
    ResponseParams,
    client_event,
    error_event,
    new_id,
    server_event,
)
from gateway.realtime.items import Item, Items, audio_of, new_item
from gateway.realtime.outbox import Outbox
from gateway.realtime.session_config import SessionConfig, session_of
from gateway.realtime.turn_taking import TurnTaking

LARGE_MESSAGE = 2**18
"""A longer message is parsed in a thread: 20 MiB take tens of milliseconds."""
MAX_TEXT_OF_ITEMS = 1_000_000
"""Characters of a session's items together."""


class Session:
    """One client's session, of kind "realtime" or "transcription", over a backend that all sessions share."""

    def __init__(
        self,
        backend: Backend,
        outbox: Outbox,
        *,
        kind: str,
        model: str,
        on_record: Callable[[TurnRecord], None],
        on_error: Callable[[str], None],
    ) -> None:
        settings = backend.settings
        self._on_error = on_error
        self.session_id = new_id("sess")
        expires_at = int(time.time() + settings.max_session_s)
        identity: dict[str, Any] = {"id": self.session_id, "expires_at": expires_at}
        if kind == "realtime":
            identity |= {"object": "realtime.session", "model": model}
        else:
            identity |= {"object": "realtime.transcription_session"}
        self._config = SessionConfig(kind, settings, **identity)
        self._outbox = outbox
        self._items = Items(settings.max_session_items, MAX_TEXT_OF_ITEMS)
        self._answering = Answering(
            turns=backend.turns,
            items=self._items,
            outbox=outbox,
            config=self._config,
            session_id=self.session_id,
            on_record=on_record,
        )
        self._turn_taking = TurnTaking(self._config, self._items, outbox, self._answering, backend)

    def begin(self, wanted: Mapping[str, JsonValue] | None = None) -> None:
        """The server speaks first. The session begins as `wanted`, where its client secret says how."""
        problem: ProtocolError | None = None
        if wanted:
            try:
                self._config.update(session_of(wanted))
                self._turn_taking.configure()
            except ProtocolError as error:
                problem = error
        self._outbox.put(server_event(SessionCreatedEvent, session=self._config.full))
        if problem:
            self._outbox.put(error_event(problem, None))

    async def follow(self, message: str | bytes) -> None:
        """Follow one message of the client; an error in it is answered, and the session lives on."""
        await self._outbox.room()
        event_id = None
        try:
            event = await _parsed(message)
            event_id = event.event_id
            await self._follow(event)
        except ProtocolError as error:
            self._on_error(error.code)
            self._outbox.put(error_event(error, event_id))

    async def close(self) -> None:
        """Cancel what is under way, and wait for it."""
        self._turn_taking.close()
        await self._answering.close()

    @property
    def in_turn(self) -> bool:
        """Whether a response is under way."""
        return self._answering.active is not None

    async def _follow(self, event: RealtimeClientEvent) -> None:
        match event:
            case InputAudioBufferAppendEvent(audio=audio):
                await self._turn_taking.append(audio)
            case InputAudioBufferCommitEvent():
                self._turn_taking.commit()
            case InputAudioBufferClearEvent():
                self._turn_taking.clear()
                self._outbox.put(server_event(InputAudioBufferClearedEvent))
            case SessionUpdateEvent():
                self._config.update(event.session, voice_frozen=any(one.segments for one in self._items))
                self._turn_taking.configure()
                self._outbox.put(server_event(SessionUpdatedEvent, session=self._config.full))
            case ConversationItemCreateEvent():
                await self._create_item(event)
            case ConversationItemDeleteEvent(item_id=item_id):
                self._items.delete(item_id)
                self._outbox.put(server_event(ConversationItemDeletedEvent, item_id=item_id))
            case ConversationItemRetrieveEvent(item_id=item_id):
                self._retrieve(item_id)
            case ConversationItemTruncateEvent():
                self._truncate(event)
            case ResponseCreate():
                self._create_response(event)
            case ResponseCancelEvent(response_id=response_id):
                if not self._answering.cancel("client_cancelled", response_id):
                    raise ProtocolError("There is no response to cancel.", "response_cancel_not_active")
            case OutputAudioBufferClearEvent():
                self._answering.silence()
                self._answering.cancel("client_cancelled")

    async def _create_item(self, event: ConversationItemCreateEvent) -> None:
        item, spoken = new_item(event.item), None
        if audio := audio_of(event.item):
            spoken = await asyncio.to_thread(whole_audio, audio, self._config.input_format)
            item.spoken_s = spoken.duration_s
        self._items.add(item, event.previous_item_id)
        previous_id = self._items.previous_id(item)
        for kind in (ConversationItemAdded, ConversationItemDone):
            self._outbox.put(server_event(kind, item=item.item, previous_item_id=previous_id))
        if spoken:
            recorder = self._answering.recorder()
            self._answering.answer(self._answering.ask(spoken, recorder, transcribe_only=True), item)

    def _retrieve(self, item_id: str) -> None:
        item = self._items.get(item_id, "item_retrieve_invalid_item_id")
        self._outbox.put(server_event(ConversationItemRetrieved, item=item.item))

    def _truncate(self, event: ConversationItemTruncateEvent) -> None:
        """Only what was played is remembered, by words. A position behind the end is the end."""
        item = self._items.get(event.item_id)
        if not item.segments:
            raise ProtocolError("This item has no speech of the assistant.", param="item_id")
        item.played_s = min(max(0, event.audio_end_ms) / 1000, item.duration_s)
        item.set_transcript(item.played())
        self._outbox.put(
            server_event(
                ConversationItemTruncatedEvent,
                item_id=event.item_id,
                content_index=event.content_index,
                audio_end_ms=event.audio_end_ms,
            )
        )

    def _create_response(self, event: ResponseCreate) -> None:
        params = event.response or ResponseParams()
        among = None if params.input is None else [self._input_item(one) for one in params.input]
        self._answering.create(params, among)

    def _input_item(self, item: ResponseItemReference | ConversationItem) -> Item:
        if isinstance(item, ResponseItemReference):
            return self._items.get(item.id)
        return new_item(item)


async def _parsed(message: str | bytes) -> RealtimeClientEvent:
    if len(message) > LARGE_MESSAGE:
        return await asyncio.to_thread(client_event, message)
    return client_event(message)
