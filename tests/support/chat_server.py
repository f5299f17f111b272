"""A server of the OpenAI chat protocol that behaves as a test wants, however badly."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Exchange:
    """One request, and the connection on which it is answered."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)

    async def answer(self, status: int, body: object, content_type: str = "application/json") -> None:
        """A whole answer; what is no text is sent as JSON."""
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        lines = [
            f"HTTP/1.1 {status} Whatever",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(data)}",
        ]
        await self.send("\r\n".join([*lines, "", ""]).encode() + data)

    async def begin_stream(self) -> None:
        """The head of an event stream."""
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        await self.send(head.encode())

    async def write(self, *texts: str | None) -> None:
        """Events with text deltas of the reply."""
        for text in texts:
            await self.delta(content=text)

    async def delta(self, **fields: object) -> None:
        """An event with a delta of these fields."""
        await self.event({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})

    async def end(self, finish_reason: str = "stop") -> None:
        """The last events of a reply and the end of the stream."""
        await self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
        await self.event({"choices": [], "usage": {"completion_tokens": 1}})
        await self.event("[DONE]")
        await self.send(b"0\r\n\r\n")

    async def event(self, data: object) -> None:
        """One event; what is no text is sent as JSON."""
        line = f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
        await self.send(f"{len(line):x}\r\n".encode() + line + b"\r\n")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_hung_up(self) -> None:
        """Wait until the client closes the connection."""
        while await self.reader.read(1024):
            pass


Behaviour = Callable[[Exchange], Awaitable[None]]


class ChatServer:
    """Answers every request by `behaviour`; a behaviour that returns before the answer is whole hangs up."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = reply("Hello!")
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.hung_up = asyncio.Event()
        self._port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ChatServer"]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while exchange := await _request(reader, writer):
                self.exchanges.append(exchange)
                self.asked.set()
                await self.behaviour(exchange)
                if exchange.headers.get("connection") == "hang up":
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.hung_up.set()
            writer.close()


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
    return Exchange(first.split()[1], headers, body, reader, writer)


def reply(*texts: str | None, finish_reason: str = "stop") -> Behaviour:
    """A proper reply."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.write(*texts)
        await exchange.end(finish_reason)

    return behave


def deltas(*fields: dict[str, object], finish_reason: str = "stop") -> Behaviour:
    """A proper reply whose deltas have other fields than text."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for one in fields:
            await exchange.delta(**one)
        await exchange.end(finish_reason)

    return behave


def refusal(status: int, body: object, content_type: str = "application/json") -> Behaviour:
    """An error before the reply."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(status, body, content_type)

    return behave


def hang_up_after(*texts: str, event: object = None) -> Behaviour:
    """The beginning of a reply, perhaps an event that is none, and the end of the connection."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.write(*texts)
        if event is not None:
            await exchange.event(event)
        exchange.headers["connection"] = "hang up"

    return behave


def silence_after(*texts: str) -> Behaviour:
    """The beginning of a reply, if any, and then nothing until the client hangs up."""

    async def behave(exchange: Exchange) -> None:
        if texts:
            await exchange.begin_stream()
            await exchange.write(*texts)
        await exchange.until_hung_up()

    return behave
