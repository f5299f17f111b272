"""An ASGI application behind a real socket, in the loop of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from tests.support.waiting import until_async


@asynccontextmanager
async def served(app: ASGIApp, port: int = 0) -> AsyncIterator[int]:
    """Serve it on the loopback address; the port is free unless given. Connections are closed at the end."""
    config = uvicorn.Config(app, log_level="critical", ws="websockets-sansio", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", port))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until_async(lambda: server.started or serving.done())
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listener.close()
