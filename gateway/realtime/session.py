"""One session: each event of its client is followed, one after another, and answered by the protocol."""

import time
from collections.abc import Callable, Sequence

from openai.types.realtime import (
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
    ResponseCreateEvent,
    SessionCreatedEvent,
    SessionUpdatedEvent,
    SessionUpdateEvent,
)

from conversation.turn_record import TurnRecord
from gateway.backend import Backend
from gateway.realtime.answering import Answering
from gateway.realtime.events import ProtocolError, client_event, error_event, new_id, server_event
from gateway.realtime.items import Items, new_item
from gateway.realtime.outbox import Outbox
from gateway.realtime.session_config import SessionConfig
from gateway.realtime.turn_taking import TurnTaking

MAX_TEXT_OF_ITEMS = 1_000_000
"""Characters of a session's items together."""


class Session:
    """One client's session, of kind "realtime" or "transcription", over a backend that all sessions share."""

    def __init__(
        self, backend: Backend, outbox: Outbox, *, kind: str, model: str, on_record: Callable[[TurnRecord], None]
    ) -> None:
        settings = backend.settings
        self.session_id = new_id("sess")
        expires_at = int(time.time() + settings.gateway_session_s)
        identity = {"id": self.session_id, "object": f"realtime.{kind}_session", "expires_at": expires_at}
        identity |= {"object": "realtime.session", "model": model} if kind == "realtime" else {}
        self._config = SessionConfig(kind, settings, **identity)
        self._outbox = outbox
        self._items = Items(settings.gateway_max_items, MAX_TEXT_OF_ITEMS)
        self._answering = Answering(
            turns=backend.turns,
            items=self._items,
            outbox=outbox,
            config=self._config,
            session_id=self.session_id,
            on_record=on_record,
        )
        self._turn_taking = TurnTaking(
            self._config,
            self._items,
            outbox,
            self._answering,
            backend.turn_model,
            settings,
            settings.max_audio_s,
        )

    def begin(self) -> None:
        """The server speaks first."""
        self._outbox.put(server_event(SessionCreatedEvent, session=self._config.full))

    async def follow(self, message: str | bytes) -> None:
        """Follow one message of the client; an error in it is answered, and the session lives on."""
        await self._outbox.room()
        event_id = None
        try:
            event = client_event(message)
            event_id = event.event_id
            await self._follow(event)
        except ProtocolError as error:
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
                self._config.update(event.session)
                self._turn_taking.configure()
                self._outbox.put(server_event(SessionUpdatedEvent, session=self._config.full))
            case ConversationItemCreateEvent():
                self._create_item(event)
            case ConversationItemDeleteEvent(item_id=item_id):
                self._items.delete(item_id)
                self._outbox.put(server_event(ConversationItemDeletedEvent, item_id=item_id))
            case ConversationItemRetrieveEvent(item_id=item_id):
                self._retrieve(item_id)
            case ConversationItemTruncateEvent():
                self._truncate(event)
            case ResponseCreateEvent():
                self._create_response(event)
            case ResponseCancelEvent(response_id=response_id):
                if not self._answering.cancel("client_cancelled", response_id):
                    raise ProtocolError("There is no response to cancel.", "response_cancel_not_active")
            case OutputAudioBufferClearEvent():
                self._answering.cancel("client_cancelled")
