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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.realtime.test_items import create, text_item
from tests.support.realtime_client import GIVE_UP_S, Client, Served, said, serving, silence
from tests.support.scripted_stages import cast, speech, typed

MIB = 2**20


@asynccontextmanager
async def gateway(reply: str = "It is sunny.", **bounds: Any) -> AsyncIterator[Served]:
    """With room for two sessions."""
    scripted = cast(asr=[[0.02, "what is the weather like"]], llm=[typed(reply, first_s=0.01)])
    async with serving(scripted, max_sessions=2, **bounds) as served:
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


APPEND, UPDATE = "input_audio_buffer.append", "session.update"
CREATE, TRUNCATE = "conversation.item.create", "conversation.item.truncate"
MESSAGES = {
    "no JSON": ("{", "invalid_json"),
    "no JSON at all": ("GET / HTTP/1.1\r\n\r\n", "invalid_json"),
    "empty": ("", "invalid_json"),
    "a number": ("1", "invalid_value"),
    "a list": ("[]", "invalid_value"),
    "null": ("null", "invalid_value"),
    "nested deeply": ("[" * 100_000, "invalid_json"),
    "an endless number": ("9" * 100_000, "invalid_json"),
    "no type": ("{}", "invalid_value"),
    "an unknown event": ({"type": "session.destroy"}, "invalid_value"),
    "an event of the server": ({"type": "session.created"}, "invalid_value"),
    "a type that is a number": ({"type": 5}, "invalid_value"),
    "a type that is no text": ({"type": {"a": 1}}, "invalid_value"),
    "half a letter": ('{"type": "\\ud800"}', "invalid_json"),
    "no audio": ({"type": APPEND}, "missing_required_parameter"),
    "audio that is a number": ({"type": APPEND, "audio": 7}, "invalid_value"),
    "audio that is a list": ({"type": APPEND, "audio": [1, 2]}, "invalid_value"),
    "audio that is no base64": ({"type": APPEND, "audio": "!!!!"}, "invalid_audio"),
    "an item of no type": ({"type": CREATE, "item": {}}, "missing_required_parameter"),
    "an item that is text": ({"type": CREATE, "item": "hello"}, "invalid_value"),
    "half an item": ({"type": CREATE, "item": {"type": "mcp_call"}}, "missing_required_parameter"),
    "a session that is a list": ({"type": UPDATE, "session": []}, "invalid_value"),
    "a rate below zero": (
        {
            "type": UPDATE,
            "session": {
                "type": "realtime",
                "audio": {"input": {"format": {"type": "audio/pcm", "rate": -1}}},
            },
        },
        "invalid_value",
    ),
    "an item that nobody has": (
        {"type": "conversation.item.retrieve", "item_id": "x"},
        "item_retrieve_invalid_item_id",
    ),
    "a cut of an item that nobody has": (
        {"type": TRUNCATE, "item_id": "x", "content_index": 0, "audio_end_ms": 1},
        "item_not_found",
    ),
    "a cut below zero": (
        {"type": TRUNCATE, "item_id": "x", "content_index": -1, "audio_end_ms": -1},
        "item_not_found",
    ),
    "nothing to commit": ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
    "nothing to cancel": ({"type": "response.cancel"}, "response_cancel_not_active"),
}


@pytest.mark.parametrize("in_bytes", [False, True], ids=["text", "bytes"])
async def test_what_cannot_be_followed_is_answered_with_an_error_and_the_session_lives_on(
    in_bytes: bool,
) -> None:
    async with gateway() as served, served.client() as other, served.client() as client:
        turn = asyncio.create_task(has_a_turn(other))
        for name, (message, code) in MESSAGES.items():
            text = message if isinstance(message, str) else json.dumps(message)
            await client.socket.send(text.encode() if in_bytes else text)
            error = await client.error()
            assert (error["type"], error["code"]) == ("invalid_request_error", code), name
            assert 0 < len(error["message"]) < 1_000, name
        await client.socket.send(bytes(range(256)) * 64)
        assert (await client.error())["code"] == "invalid_json"
        await turn
        await has_a_turn(client)


async def test_an_error_names_the_event_that_it_is_about() -> None:
    async with gateway() as served, served.client() as client:
        await client.send("session.destroy", event_id="mine")
        assert (await client.error())["event_id"] == "mine"
        await client.send("conversation.item.delete", event_id="also mine", item_id="nobody")
        assert (await client.error())["event_id"] == "also mine"


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
        await client.send(APPEND, audio=base64.b64encode(bytes(MIB)).decode())
        await turn
        await has_a_turn(client)


async def test_more_audio_in_one_event_than_is_allowed_is_refused() -> None:
    async with gateway() as served, served.client() as client:
        await client.update(audio={"input": {"turn_detection": None}})
        for number_of_bytes, code in ((15 * MIB, "input_audio_too_long"), (15 * MIB + 3, "audio_too_large")):
            await client.send(APPEND, audio=base64.b64encode(bytes(number_of_bytes)).decode())
            assert (await client.error())["code"] == code  # 15 MiB are five minutes
        assert (await client.update(tracing="auto"))["tracing"]


async def test_audio_that_ends_in_the_midst_of_a_sample_is_taken() -> None:
    async with gateway() as served, served.client() as client:
        for _ in range(2):
            await client.send(APPEND, audio=base64.b64encode(b"\0").decode())
        await has_a_turn(client)


async def test_a_thousand_updates_are_each_answered() -> None:
    async with gateway() as served, served.client() as other, served.client() as client:
        turn = asyncio.create_task(has_a_turn(other))
        for number in range(1_000):
            session = {"type": "realtime", "instructions": str(number)}
            await client.send(UPDATE, session=session)
        for number in range(1_000):
            updated = await client.until("session.updated")
            assert updated["session"]["instructions"] == str(number)
        await turn
        await has_a_turn(client)


async def test_a_conversation_has_bounds() -> None:
    async with gateway(max_session_items=2) as served, served.client() as client:
        await create(client, text_item("one"))
        await create(client, text_item("two", id="two"))
        await client.send(CREATE, item=text_item("three"))
        assert (await client.error())["code"] == "too_large"
        await client.send("conversation.item.delete", item_id="two")
        await client.until("conversation.item.deleted")
        await create(client, text_item("three"))


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
    bounds: dict[str, Any] = {"max_unsent_characters": 2**16, "slow_reader_timeout_s": 0.5}
    async with serving(scripted, max_sessions=2, **bounds) as served, served.client() as other:
        narrow = tcp_socket(AF_INET)
        narrow.setsockopt(SOL_SOCKET, SO_RCVBUF, 4_096)
        narrow.connect(("127.0.0.1", served.port))
        async with websockets.connect(served.url, sock=narrow, max_queue=1, close_timeout=0.1) as deaf:
            await Client(deaf).speak(said())
            await until_there_is_room(served)
            await has_a_turn(other)


EVENTS = st.sampled_from(
    [
        {"type": APPEND, "audio": base64.b64encode(silence(0.2)).decode()},
        {"type": "input_audio_buffer.commit"},
        {"type": "input_audio_buffer.clear"},
        {"type": "output_audio_buffer.clear"},
        {"type": "response.create"},
        {"type": "response.create", "response": {"conversation": "none", "output_modalities": ["text"]}},
        {"type": "response.cancel"},
        {"type": CREATE, "item": text_item("Hello.", id="one")},
        {"type": "conversation.item.delete", "item_id": "one"},
        {"type": "conversation.item.retrieve", "item_id": "one"},
        {"type": TRUNCATE, "item_id": "one", "content_index": 0, "audio_end_ms": 5},
        {"type": UPDATE, "session": {"type": "realtime", "output_modalities": ["text"]}},
        {"type": UPDATE, "session": {"type": "transcription"}},
        {
            "type": UPDATE,
            "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}},
        },
        {
            "type": UPDATE,
            "session": {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}},
        },
    ]
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(EVENTS, max_size=12))
async def test_whatever_the_order_of_events_each_begun_response_ends_and_the_session_lives_on(
    served: Served, events: list[dict[str, Any]]
) -> None:
    async with served.client() as client:
        for event in events:
            await client.socket.send(json.dumps(event))
        await client.send(UPDATE, session={"type": "realtime", "instructions": "the last"})
        while (await client.next()).get("session", {}).get("instructions") != "the last":
            pass
        while len(client.of("response.done")) < len(client.of("response.created")):
            await client.next()
        begun = [event["response"]["id"] for event in client.of("response.created")]
        assert sorted(event["response"]["id"] for event in client.of("response.done")) == sorted(begun)
