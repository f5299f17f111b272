"""The gateway on a socket: served by uvicorn, and drained at its end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import uvicorn
from starlette.types import ASGIApp

from gateway.server import Gateway

MAX_MESSAGE_BYTES = 21 * 2**20
"""15 MiB of audio, the most that the protocol allows, are 20 MiB of base64."""


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
        lifespan="off",
        log_config=None,
        access_log=False,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,  # audio would not get smaller
        timeout_graceful_shutdown=5,
    )


class _Server(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Signals are for whoever serves."""
        return nullcontext()
