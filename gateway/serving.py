"""The gateway on a socket: served by uvicorn, and drained at its end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import uvicorn

from gateway.server import Gateway
from shared.settings import Settings

MAX_MESSAGE_BYTES = 21 * 2**20
"""15 MiB of audio, the most that the protocol allows, are 20 MiB of base64."""


@asynccontextmanager
async def serving(
    gateway: Gateway, listener: socket.socket, settings: Settings
) -> AsyncIterator["asyncio.Task[None]"]:
    """Serve while the block lasts; the task ends early only if the server fails. At the block's end no more
    work is taken, and what is under way has S2S_DRAIN_S to end."""
    server = _Server(
        uvicorn.Config(
            gateway.app,
            lifespan="on",
            log_config=None,
            access_log=False,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_ping_interval=20,
            ws_ping_timeout=20,
            ws_per_message_deflate=False,  # audio does not get smaller, and each session needs memory for it
            timeout_graceful_shutdown=5,
        )
    )
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield task
    finally:
        await gateway.drain(settings.drain_s)
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Signals are for whoever serves."""
        return nullcontext()
