"""HTTP servers of apps (`@app.server`): a port each, from which connections go to containers.

A container of a server listens on the port in its variable PORT, as many may run on this machine at once.
"""

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass
from functools import partial

from local_cloud.container import Container
from local_cloud.scheduler import Scheduler
from local_cloud.state import Function

HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 30.0
_BLOCK_BYTES = 64 * 1024
_PROXY_TOKEN = re.compile(r"wk-[\w-]+(\.|:)ws-[\w-]+")
_GONE = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError)
_REASONS = {401: "Unauthorized", 429: "Too Many Requests", 502: "Bad Gateway", 503: "Service Unavailable"}


class HttpServers:
    """The ports of all servers, on the loopback interface. A server keeps its port over deployments."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._ports: dict[str, asyncio.Server] = {}
        self._connections: set[asyncio.Task[None]] = set()

    async def url(self, function: Function) -> str:
        """Where a server is reached; from now on it is."""
        if function.id not in self._ports:
            serve = partial(self._serve, function)
            self._ports[function.id] = await asyncio.start_server(serve, "127.0.0.1", 0, limit=HEAD_BYTES)
        return f"http://127.0.0.1:{self._ports[function.id].sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Close every port and every connection."""
        for port in self._ports.values():
            port.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(
        self, function: Function, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            with contextlib.suppress(
                OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError
            ):
                async with asyncio.timeout(HEAD_TIMEOUT_S):
                    head = _Head.of(await reader.readuntil(b"\r\n\r\n"))
                await self._answer(function, head, reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(
        self,
        function: Function,
        head: "_Head",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Hand the connection to the container with the fewest; Modal queues no request either."""
        if function.definition.http_config.unauthenticated or head.has_proxy_token:
            ready = [one for one in function.live_containers if one.ready]
            if not ready:
                if not function.app.stopped:
                    self._scheduler.wake(function)
                await _refuse(writer, 503, "no container runs yet")
                return
            container = min(ready, key=lambda one: one.connections)
            most = function.definition.max_concurrent_inputs
            if most and container.connections >= most:
                await _refuse(writer, 429, "every container has as many requests as it may")
                return
            await self._hand_over(container, head, reader, writer)
        else:
            await _refuse(writer, 401, "a proxy token is needed")

    async def _hand_over(
        self,
        container: Container,
        head: "_Head",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        container.connections += 1
        self._scheduler.scale(container.function)
        try:
            try:
                to_reader, to_writer = await asyncio.open_connection("127.0.0.1", container.http_port)
            except OSError:
                await _refuse(writer, 502, "nothing listens on the port in the container's variable PORT")
                return
            try:
                to_writer.write(head.for_one_request())
                ways = {
                    asyncio.ensure_future(_copy(reader, to_writer)),
                    asyncio.ensure_future(_copy(to_reader, writer)),
                }
                try:
                    await asyncio.wait(ways)
                finally:
                    for way in ways:
                        way.cancel()
            finally:
                to_writer.close()
        finally:
            container.connections -= 1
            container.last_used_at = time.monotonic()


@dataclass(frozen=True)
class _Head:
    """A request's line and headers."""

    raw: bytes
    headers: dict[str, str]

    @classmethod
    def of(cls, raw: bytes) -> "_Head":
        lines = raw.decode("latin-1").split("\r\n")[1:-2]
        pairs = (line.partition(":") for line in lines)
        return cls(raw, {name.lower(): value.strip() for name, _, value in pairs})

    @property
    def has_proxy_token(self) -> bool:
        """Whether it carries one, in either form. Its value is not looked at: this cloud has one user."""
        bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
        pair = f"{self.headers.get('modal-key')}:{self.headers.get('modal-secret')}"
        return any(_PROXY_TOKEN.fullmatch(one) for one in (bearer, pair))

    def for_one_request(self) -> bytes:
        """The same, of a connection that ends with its request, unless it becomes a WebSocket: the next
        request may be another container's."""
        if "upgrade" in self.headers.get("connection", "").lower():
            return self.raw
        return re.sub(rb"(?im)^connection:[^\r]*\r\n", b"", self.raw)[:-2] + b"Connection: close\r\n\r\n"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the reader's end, which the writer then is told."""
    with contextlib.suppress(OSError):
        while block := await reader.read(_BLOCK_BYTES):
            writer.write(block)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _refuse(writer: asyncio.StreamWriter, status: int, why: str) -> None:
    body = f"local cloud: {why}\n".encode()
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    writer.write(head.encode() + b"Content-Type: text/plain\r\nRetry-After: 1\r\n\r\n" + body)
    await writer.drain()
