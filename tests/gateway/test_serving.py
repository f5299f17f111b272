"""How the gateway is served: what keeps a connection open, and what does not."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator

import pytest
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from gateway import serving
from gateway.serving import gateway_config
from tests.support.serving import running
from tests.support.waiting import GIVE_UP_S

HEADERS = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PART = HEADERS[:20]
TIMEOUT_S = 0.2


async def slow(request: Request) -> PlainTextResponse:
    await asyncio.sleep(2 * TIMEOUT_S)
    return PlainTextResponse(await request.body())


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(serving, "HEADERS_TIMEOUT_S", TIMEOUT_S)
    app = Starlette(routes=[Route("/", slow, methods=["GET", "POST"]), WebSocketRoute("/echo", echo)])
    async with running(gateway_config(app)) as port:
        yield port


async def connected(port: int) -> tuple[StreamReader, StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def closed(reader: StreamReader) -> bytes:
    """What comes until the server closes the connection."""
    return await asyncio.wait_for(reader.read(), GIVE_UP_S)


@pytest.mark.parametrize("sent", [b"", PART])
async def test_a_connection_without_a_whole_request_is_closed(port: int, sent: bytes) -> None:
    reader, writer = await connected(port)
    writer.write(sent)
    assert await closed(reader) == b""
    writer.close()


async def test_a_second_request_on_a_connection_has_no_more_time_than_the_first(port: int) -> None:
    reader, writer = await connected(port)
    writer.write(HEADERS)
    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    writer.write(PART)
    await closed(reader)
    writer.close()


async def test_headers_that_trickle_in_get_no_more_time_for_each_byte(port: int) -> None:
    _, writer = await connected(port)
    with pytest.raises(ConnectionError):
        for _ in range(40):
            writer.write(b"G")
            await writer.drain()
            await asyncio.sleep(TIMEOUT_S / 4)
    writer.close()


async def test_bodies_answers_and_websockets_may_take_longer(port: int) -> None:
    reader, writer = await connected(port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo") as websocket:
        await asyncio.sleep(2 * TIMEOUT_S)
        writer.write(b"body")
        await websocket.send("still here")
        assert await websocket.recv() == "still here"
    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(4) == b"body"
    writer.close()
