"""An ASGI application behind a real socket, in the loop of the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def served(app: ASGIApp, port: int = 0) -> AsyncIterator[int]:
    """Serve it on the loopback address; the port is free unless given. Connections are closed at the end."""
    config = uvicorn.Config(
        app, port=port, log_level="critical", ws="websockets-sansio", timeout_graceful_shutdown=0
    )
    async with running(config) as port:
        yield port


@asynccontextmanager
async def running(config: uvicorn.Config) -> AsyncIterator[int]:
    """Serve as configured; gives the port.

    It starts and ends as `uvicorn.Server.serve` does, which looks only every tenth of a second whether to
    end, and takes another to do so.
    """
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    await server.on_tick(0)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        if tasks := set(server.server_state.tasks):
            _, unfinished = await asyncio.wait(tasks, timeout=config.timeout_graceful_shutdown)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        await server.lifespan.shutdown()
