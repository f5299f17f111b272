"""The gateway on a socket: served by uvicorn, and drained at its end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.server import Gateway

MAX_MESSAGE_BYTES = 21 * 2**20
"""15 MiB of audio, the most that the protocol allows, are 20 MiB of base64."""

HEADERS_TIMEOUT_S = 10.0
"""How long a request's headers may take, from the connection's start or their first byte. They are a few
packets; uvicorn would wait for ever, and whoever sends a byte a minute would keep many connections open."""


@asynccontextmanager
async def serving(
    gateway: Gateway, listener: socket.socket, drain_s: float
) -> AsyncIterator["asyncio.Task[None]"]:
    """Serve while the block lasts; the task ends early only if the server fails. At the block's end no more
    work is taken, and what is under way has `drain_s` to end."""
    server = _Server(gateway_config(gateway.app))
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield task
    finally:
        await gateway.drain(drain_s)
        server.should_exit = True
        await task


def gateway_config(app: ASGIApp, port: int = 0) -> uvicorn.Config:
    """How the gateway is served; WebSockets' messages and pings as its clients want them."""
    return uvicorn.Config(
        app,
        port=port,
        http=_TimedHeaders,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,  # audio would not get smaller
        timeout_graceful_shutdown=5,
    )


class _TimedHeaders(H11Protocol):
    """Closes a connection whose request does not come in time. What follows the headers has limits of its
    own."""

    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connects: it has something to ask."""
        super().connection_made(transport)
        self._closing = self.loop.call_later(HEADERS_TIMEOUT_S, transport.close)

    def data_received(self, data: bytes) -> None:
        """The headers may be in it, or a part of them."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._closing is None:
            self._closing = self.loop.call_later(HEADERS_TIMEOUT_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None


class _Server(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Signals are for whoever serves."""
        return nullcontext()
