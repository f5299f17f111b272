"""Clients that break the protocol, out of error or malice, are told so or disconnected; the turn of another
client goes on meanwhile, and their place is free again afterwards."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import AF_INET, SO_RCVBUF, SOL_SOCKET
from socket import socket as tcp_socket
from typing import Any

import pytest
import websockets

from tests.support.realtime_client import GIVE_UP_S, Client, Served, said, serving
from tests.support.scripted_stages import cast, speech, typed

pytestmark = pytest.mark.slow

MIB = 2**20


@asynccontextmanager
async def gateway(reply: str = "It is sunny.", **settings: Any) -> AsyncIterator[Served]:
    """With room for two sessions."""
    scripted = cast(asr=[[0.02, "what is the weather like"]], llm=[typed(reply, first_s=0.01)])
    async with serving(scripted, max_sessions=2, **settings) as served:
        yield served


async def has_a_turn(client: Client) -> None:
    """The client's next spoken question is answered."""
    before = len(client.audio)
    await client.speak(said())
    done = await client.until("response.done")
    assert done["response"]["status"] == "completed"
    assert len(client.audio) > before


async def until_there_is_room(served: Served) -> None:
    """Wait until a further session can be opened, and has a turn."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            async with websockets.connect(served.url) as socket:
                if json.loads(await socket.recv())["type"] == "session.created":
                    return await has_a_turn(Client(socket))
            await asyncio.sleep(0.05)


MESSAGES = {
    "no JSON": "{",
    "no JSON at all": "GET / HTTP/1.1\r\n\r\n",
    "empty": "",
    "a number": "1",
    "a list": "[]",
    "null": "null",
    "nested deeply": "[" * 100_000,
    "an endless number": "9" * 100_000,
    "no type": "{}",
    "an unknown event": '{"type": "session.destroy"}',
    "an event of the server": '{"type": "session.created"}',
    "a type that is no text": '{"type": {"a": 1}}',
    "half a letter": '{"type": "\\ud800"}',
    "audio of no type": '{"type": "input_audio_buffer.append"}',
    "audio that is a list": '{"type": "input_audio_buffer.append", "audio": [1, 2]}',
    "audio that is no base64": '{"type": "input_audio_buffer.append", "audio": "!!!!"}',
    "an item of no type": '{"type": "conversation.item.create", "item": {}}',
    "an item that is text": '{"type": "conversation.item.create", "item": "hello"}',
    "a session that is a list": '{"type": "session.update", "session": []}',
    "a rate below zero": json.dumps(
        {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "audio": {"input": {"format": {"type": "audio/pcm", "rate": -1}}},
            },
        }
    ),
    "an item that nobody has": '{"type": "conversation.item.retrieve", "item_id": "nobody"}',
    "a cut of an item that nobody has": json.dumps(
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1}
    ),
    "a cut below zero": json.dumps(
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": -1, "audio_end_ms": -1}
    ),
    "nothing to commit": '{"type": "input_audio_buffer.commit"}',
    "nothing to cancel": '{"type": "response.cancel"}',
}


@pytest.mark.parametrize("in_bytes", [False, True], ids=["text", "bytes"])
async def test_what_cannot_be_followed_is_answered_with_an_error_and_the_session_lives_on(
    in_bytes: bool,
) -> None:
    async with gateway() as served, served.client() as other, served.client() as client:
        turn = asyncio.create_task(has_a_turn(other))
        for name, message in MESSAGES.items():
            await client.socket.send(message.encode() if in_bytes else message)
            error = await client.error()
            assert error["type"] == "invalid_request_error", name
            assert error["message"], name
            assert len(error["message"]) < 1_000, name
        await turn
        await has_a_turn(client)


async def test_an_error_names_the_event_that_it_is_about() -> None:
    async with gateway() as served, served.client() as client:
        await client.send("session.destroy", event_id="mine")
        assert (await client.error())["event_id"] == "mine"
        await client.send("conversation.item.delete", event_id="also mine", item_id="nobody")
        assert (await client.error())["event_id"] == "also mine"


async def test_bytes_that_are_no_text_are_answered_with_an_error() -> None:
    async with gateway() as served, served.client() as client:
        await client.socket.send(bytes(range(256)) * 64)
        await client.error()
        await has_a_turn(client)


async def test_a_huge_message_ends_its_own_session_only() -> None:
    async with gateway() as served, served.client() as other:
        turn = asyncio.create_task(has_a_turn(other))
        async with served.client() as client:
            with pytest.raises(websockets.ConnectionClosed):
                await client.socket.send(" " * 24 * MIB)
                await client.socket.wait_closed()
                await client.socket.recv()
            assert client.socket.close_code == 1009  # message too big
        await turn
        await until_there_is_room(served)


async def test_much_audio_in_one_event_is_taken_and_holds_nobody_else_up() -> None:
    async with gateway() as served, served.client() as other, served.client() as client:
        turn = asyncio.create_task(has_a_turn(other))
        await client.send("input_audio_buffer.append", audio=base64.b64encode(bytes(4 * MIB)).decode())
        await turn
        await has_a_turn(client)


async def test_audio_that_ends_in_the_midst_of_a_sample_is_taken() -> None:
    async with gateway() as served, served.client() as client:
        for _ in range(2):
            await client.send("input_audio_buffer.append", audio=base64.b64encode(b"\0").decode())
        await has_a_turn(client)


async def test_a_thousand_updates_are_each_answered() -> None:
    async with gateway() as served, served.client() as other, served.client() as client:
        turn = asyncio.create_task(has_a_turn(other))
        for number in range(1_000):
            session = {"type": "realtime", "instructions": str(number)}
            await client.send("session.update", session=session)
        for number in range(1_000):
            updated = await client.until("session.updated")
            assert updated["session"]["instructions"] == str(number)
        await turn
        await has_a_turn(client)


async def test_items_without_end_are_refused_at_a_limit() -> None:
    async with gateway(max_session_items=10) as served, served.client() as client:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
        for _ in range(12):
            await client.send("conversation.item.create", item=item)
        await client.error()
        await client.error()
        assert len(client.of("conversation.item.added")) == 10


async def test_responses_without_end_are_refused_while_one_is_under_way() -> None:
    async with gateway() as served, served.client() as client:
        for _ in range(50):
            await client.send("response.create")
        for _ in range(49):
            assert (await client.error())["code"] == "conversation_already_has_active_response"
        await client.until("response.done")


async def test_a_client_that_closes_its_half_of_the_connection_ends_its_own_session_only() -> None:
    async with gateway() as served, served.client() as other:
        turn = asyncio.create_task(has_a_turn(other))
        async with served.client() as client:
            await client.speak(said())
            client.socket.transport.write_eof()
            await client.socket.wait_closed()
        await turn
        await until_there_is_room(served)


async def test_a_client_that_vanishes_in_the_midst_of_a_message_ends_its_own_session_only() -> None:
    async with gateway() as served, served.client() as other:
        turn = asyncio.create_task(has_a_turn(other))
        client = await websockets.connect(served.url)
        client.transport.write(b"\x81\xfe\xff\xff")  # a text of 64 KiB begins
        client.transport.abort()
        await turn
        await until_there_is_room(served)


async def test_a_client_that_does_not_read_is_disconnected_and_holds_nobody_else_up() -> None:
    long_speech = speech(120.0)  # 7.7 MB, more than sockets buffer
    scripted = cast(
        asr=[[0.02, "what is the weather like"]],
        llm=[typed("It is sunny.", first_s=0.01)],
        tts=[[0.01, long_speech], [0.01, speech()], [0.01, speech()]],
    )
    settings: dict[str, Any] = {"max_unsent_characters": 2**16, "slow_reader_timeout_s": 0.5}
    async with serving(scripted, max_sessions=2, **settings) as served, served.client() as other:
        narrow = tcp_socket(AF_INET)
        narrow.setsockopt(SOL_SOCKET, SO_RCVBUF, 4_096)
        narrow.connect(("127.0.0.1", served.port))
        async with websockets.connect(served.url, sock=narrow, max_queue=1, close_timeout=0.1) as deaf:
            await Client(deaf).speak(said())
            await until_there_is_room(served)
            await has_a_turn(other)
