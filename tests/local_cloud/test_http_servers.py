"""Servers of real modal programs (`@app.server`) on the local control plane, reached over HTTP."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import modal
import pytest

from tests.support.control_plane_programs import Cloud
from tests.support.waiting import until, until_async

PROGRAM = """
import asyncio
import os

import modal

app = modal.App("servers")

async def answer(reader, writer):
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    if b"Upgrade: echo" in head:
        writer.write(b"HTTP/1.1 101 Switching\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n")
        while data := await reader.read(100):
            writer.write(data.upper())
    else:
        body = str(os.getpid()).encode()
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
    await writer.drain()
    writer.close()

class Answering:
    @modal.enter()
    async def start(self):
        self.server = await asyncio.start_server(answer, "0.0.0.0", int(os.environ.get("PORT", 8000)))

    @modal.exit()
    async def stop(self):
        self.server.close()
        print("closed", flush=True)

@app.server(
    unauthenticated=True, target_concurrency=2, max_concurrency=3, max_containers=1, scaledown_window=2
)
class Open(Answering):
    pass

@app.server()
class Closed(Answering):
    pass

@app.server(unauthenticated=True, target_concurrency=1, max_containers=3, min_containers=1)
class Growing(Answering):
    pass
"""


@pytest.fixture(scope="module")
def deployed(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    cloud.deploy(tmp_path_factory.mktemp("servers"), "servers", PROGRAM)
    for server in ("Open", "Closed", "Growing"):
        url(server)  # kept: none can be looked up where an event loop runs
    return cloud


@cache
def url(server: str) -> str:
    address = modal.Server.from_name("servers", server).get_url()
    assert address
    return address


def status(server: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url(server), headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@asynccontextmanager
async def upgraded(server: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that stays, once it has been upgraded."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url(server)).port)
    writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    yield reader, writer
    writer.close()
    await writer.wait_closed()


def test_who_comes_before_a_container_runs_is_sent_away_and_one_starts(deployed: Cloud) -> None:
    assert status("Open") == 503
    until(lambda: status("Open") == 200)
    assert len(deployed.plane.containers("servers", "Open")) == 1


def test_a_server_asks_for_a_proxy_token_unless_it_says_otherwise(deployed: Cloud) -> None:
    assert status("Closed") == 401
    assert status("Closed", Authorization="Bearer something-else") == 401
    assert not deployed.plane.containers("servers", "Closed")
    until(lambda: status("Closed", Authorization="Bearer wk-abc.ws-def") == 200)
    assert status("Closed", **{"Modal-Key": "wk-abc", "Modal-Secret": "ws-def"}) == 200


async def test_bytes_go_both_ways_once_a_connection_is_upgraded(deployed: Cloud) -> None:
    await until_async(lambda: status("Open") == 200)
    async with upgraded("Open") as (reader, writer):
        for word in (b"one", b"two"):
            writer.write(word)
            assert await reader.readexactly(3) == word.upper()


async def test_a_container_has_as_many_connections_as_it_may_and_no_more(deployed: Cloud) -> None:
    await until_async(lambda: status("Open") == 200)
    async with upgraded("Open"), upgraded("Open"), upgraded("Open"):
        assert await asyncio.to_thread(status, "Open") == 429
    await until_async(lambda: status("Open") == 200)


async def test_more_connections_than_are_aimed_at_start_another_container(deployed: Cloud) -> None:
    await until_async(lambda: status("Growing") == 200)
    async with upgraded("Growing"), upgraded("Growing"):
        await until_async(lambda: len(deployed.plane.containers("servers", "Growing")) >= 2)


def test_an_idle_container_ends_by_its_exit_methods(deployed: Cloud, tmp_path: Path) -> None:
    until(lambda: status("Open") == 200)
    closed = deployed.plane.logs("servers").count("closed")
    until(lambda: not deployed.plane.containers("servers", "Open"))
    assert deployed.plane.logs("servers").count("closed") == closed + 1
