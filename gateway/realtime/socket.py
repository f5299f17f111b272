"""The WebSocket of a session: who may open it, its two directions, and how it ends."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from conversation.turn_record import TurnRecord
from gateway.access import Access, Caller
from gateway.backend import Backend
from gateway.errors import Refused, TooManySessions
from gateway.metrics import Metrics
from gateway.realtime.events import ProtocolError, error_event
from gateway.realtime.outbox import Outbox, SlowReader
from gateway.realtime.session import Session

PATH = "/v1/realtime"
SUBPROTOCOL = "realtime"

GOING_AWAY, POLICY, TRY_AGAIN_LATER, NORMAL = 1001, 1008, 1013, 1000

CLOSE_S = 5.0
"""How long the last messages of a session may take."""

SessionKind = Literal["realtime", "transcription"]


@dataclass(frozen=True)
class Connection:
    """A session that is open, for whoever shows or counts them."""

    session_id: str
    kind: SessionKind
    client: str
    """Its network address."""


@dataclass
class RealtimeServer:
    """All Realtime sessions of one gateway.

    `on_session` is called with each session that begins (True) or ends, `on_turn` with each turn that is
    over.
    """

    backend: Backend
    access: Access
    metrics: Metrics
    on_session: Callable[[Connection, bool], None] = lambda *_: None
    on_turn: Callable[[Connection, TurnRecord], None] = lambda *_: None
    _sessions: dict[str, tuple[Session, asyncio.Task[None]]] = field(default_factory=dict)
    _endpoints: set["asyncio.Task[Any]"] = field(default_factory=set)
    _draining: bool = False

    def routes(self) -> list[WebSocketRoute]:
        """The endpoint."""
        return [WebSocketRoute(PATH, self._endpoint)]

    async def drain(self, limit_s: float) -> None:
        """Open no more sessions; end each once its turn has ended, and all of them after this time."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while self._turns_under_way:  # noqa: ASYNC110 (turns end in many ways)
                    await asyncio.sleep(0.05)
        for _, receiving in self._sessions.values():
            receiving.cancel()
        if self._endpoints:
            await asyncio.wait(self._endpoints, timeout=CLOSE_S)

    @property
    def sessions(self) -> int:
        """How many are open."""
        return len(self._sessions)

    @property
    def _turns_under_way(self) -> bool:
        return any(session.in_turn for session, _ in self._sessions.values())

    async def _endpoint(self, websocket: WebSocket) -> None:
        """One WebSocket. Refusals come as an event and a close code: a browser cannot see HTTP statuses."""
        try:
            caller = self.access.admit(websocket, for_session=True)
            async with AsyncExitStack() as stack:
                stack.enter_context(self.access.session(caller))
                if self._draining:
                    raise TooManySessions("The server is stopping. Try again in a moment.")
                if self.sessions >= self.backend.settings.max_sessions:
                    raise TooManySessions("The server has as many sessions as it may. Try again later.")
                await self._accept(websocket)
                kind = _kind_of(websocket)
                stack.enter_context(self.metrics.session(kind))
                task = asyncio.current_task()
                assert task
                self._endpoints.add(task)
                stack.callback(self._endpoints.discard, task)
                await self._session(websocket, caller, kind)
        except Refused as refusal:
            await self._refuse(websocket, refusal)

    async def _accept(self, websocket: WebSocket) -> None:
        offered = websocket.scope.get("subprotocols", ())
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)

    def _record(self, connection: Connection, record: TurnRecord) -> None:
        if record.voice_to_voice:
            self.metrics.voice_to_voice(record.voice_to_voice.total_us / 1e6)
        self.on_turn(connection, record)

    async def _refuse(self, websocket: WebSocket, refusal: Refused) -> None:
        self.metrics.error(refusal.code or refusal.type)
        await self._accept(websocket)
        error = ProtocolError(refusal.message, refusal.code or "refused", param=refusal.param)
        event = error_event(error, None)
        event.error.type = refusal.type
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await websocket.send_text(event.model_dump_json(exclude_unset=True))
            code = TRY_AGAIN_LATER if refusal.status == 429 else POLICY
            await websocket.close(code, refusal.message[:100])

    async def _session(self, websocket: WebSocket, caller: Caller, kind: SessionKind) -> None:
        settings = self.backend.settings
        outbox = Outbox(
            websocket.send_text,
            max_characters=settings.max_unsent_characters,
            timeout_s=settings.slow_reader_timeout_s,
        )
        client = websocket.client.host if websocket.client else ""
        model = websocket.query_params.get("model", "")[:200] or "gpt-realtime"
        session = Session(
            self.backend,
            outbox,
            kind=kind,
            model=model,
            on_record=lambda record: self._record(connection, record),
            on_error=self.metrics.error,
        )
        connection = Connection(session.session_id, kind, client)
        code, reason = NORMAL, ""
        sending = asyncio.create_task(outbox.run())
        receiving = asyncio.create_task(_receive(websocket, session))
        self._sessions[session.session_id] = session, receiving
        self.on_session(connection, True)
        try:
            session.begin(caller.session)
            async with asyncio.timeout(settings.max_session_s):
                await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and isinstance(sending.exception(), SlowReader):
                code, reason = POLICY, "The client does not read what it is sent."
            elif receiving.cancelled():
                code, reason = GOING_AWAY, "The server is stopping."
            elif receiving.done() and isinstance(receiving.exception(), WebSocketDisconnect):
                code = 0  # not raised here: the exception would hold this frame, and so the session
            elif receiving.done():
                receiving.result()
            else:  # the connection is lost
                code = 0
        except TimeoutError:
            code, reason = GOING_AWAY, f"The session is over after {settings.max_session_s:g} s."
            outbox.put(error_event(ProtocolError(reason, "session_expired"), None))
        except WebSocketDisconnect:
            code = 0
        finally:
            del self._sessions[session.session_id]
            receiving.cancel()
            await session.close()
            outbox.close()
            await asyncio.wait({sending}, timeout=CLOSE_S if code else 0)
            sending.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)
            self.on_session(connection, False)
        if code and websocket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await websocket.close(code, reason)


def _kind_of(websocket: WebSocket) -> SessionKind:
    return "transcription" if websocket.query_params.get("intent") == "transcription" else "realtime"


async def _receive(websocket: WebSocket, session: Session) -> None:
    """Follow the client until it leaves. Raises WebSocketDisconnect."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
        await session.follow(message.get("text") or message.get("bytes") or "")
