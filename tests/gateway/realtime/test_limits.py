"""What clients cannot do to a gateway, and never to another session."""

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from tests.gateway.realtime.conftest import REPLY, quick
from tests.gateway.realtime.test_items import create, text_item
from tests.support.realtime_client import Client, Served, serving, silence
from tests.support.scripted_stages import cast, speech, typed


async def is_alive(client: Client) -> bool:
    """Whether the session follows events still."""
    updated = await client.update(tracing="auto")
    return bool(updated["tracing"])


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no JSON", "invalid_json"),
        ("[]", "invalid_value"),
        ("{}", "invalid_value"),
        ('{"type": 5}', "invalid_value"),
        ('{"type": "response.destroy"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter"),
        ('{"type": "input_audio_buffer.append", "audio": 7}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "no base64!"}', "invalid_audio"),
        ('{"type": "conversation.item.create", "item": {"type": "mcp_call"}}', "missing_required_parameter"),
        ("[" * 100_000, "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
    ],
    ids=range(11),
)
async def test_what_is_no_event_is_an_error_and_the_session_lives_on(
    client: Client, message: str | bytes, code: str
) -> None:
    await client.socket.send(message)
    assert (await client.error())["code"] == code
    assert await is_alive(client)


async def test_an_error_names_the_clients_event(client: Client) -> None:
    await client.socket.send(json.dumps({"type": "response.destroy", "event_id": "mine"}))
    assert (await client.error())["event_id"] == "mine"


async def test_fifteen_mebibytes_of_audio_at_once_are_heard(client: Client) -> None:
    await client.update(audio={"input": {"turn_detection": None}})
    for too_long in (15 * 2**20, 15 * 2**20 + 3):
        audio = base64.b64encode(bytes(too_long)).decode()
        await client.send("input_audio_buffer.append", audio=audio)
    codes = [(await client.error())["code"] for _ in range(2)]
    assert codes == ["input_audio_too_long", "audio_too_large"]  # the first are five minutes
    assert await is_alive(client)


async def test_a_longer_message_ends_its_own_session_alone(served: Served, client: Client) -> None:
    async with served.client() as hostile:
        with pytest.raises(ConnectionClosed) as closed:
            await hostile.socket.send("x" * (22 * 2**20))
            await hostile.next()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1009
    assert await is_alive(client)


async def test_a_conversation_has_bounds() -> None:
    async with serving(quick(), max_session_items=2) as served, served.client() as client:
        await create(client, text_item("one"))
        await create(client, text_item("two", id="two"))
        await client.send("conversation.item.create", item=text_item("three"))
        assert (await client.error())["code"] == "too_large"
        await client.send("conversation.item.delete", item_id="two")
        await client.until("conversation.item.deleted")
        await create(client, text_item("three"))


async def test_a_thousand_updates_are_each_answered(client: Client) -> None:
    for number in range(1_000):
        await client.send("session.update", session={"type": "realtime", "instructions": str(number)})
    for _ in range(1_000):
        last = await client.until("session.updated")
    assert last["session"]["instructions"] == "999"


async def test_who_does_not_read_is_held_back_and_closed_and_nobody_else_is() -> None:
    scripted = cast(llm=[typed(REPLY, first_s=0.01)], tts=[[*[speech(20.0)] * 30]])
    async with serving(scripted, slow_reader_timeout_s=1.0, max_unsent_characters=2**17) as served:
        async with served.client() as other, served.client(max_queue=1) as slow:
            slow.socket.transport.pause_reading()
            await create_blindly(slow)
            async with asyncio.timeout(30):
                while served.gateway.realtime.sessions > 1:
                    assert await is_alive(other)
        assert not scripted.under_way


async def create_blindly(client: Client) -> None:
    await client.send("conversation.item.create", item=text_item("Hello."))
    await client.send("response.create")


EVENTS = st.sampled_from(
    [
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(silence(0.2)).decode()},
        {"type": "input_audio_buffer.commit"},
        {"type": "input_audio_buffer.clear"},
        {"type": "output_audio_buffer.clear"},
        {"type": "response.create"},
        {"type": "response.create", "response": {"conversation": "none", "output_modalities": ["text"]}},
        {"type": "response.cancel"},
        {"type": "conversation.item.create", "item": text_item("Hello.", id="one")},
        {"type": "conversation.item.delete", "item_id": "one"},
        {"type": "conversation.item.retrieve", "item_id": "one"},
        {"type": "conversation.item.truncate", "item_id": "one", "content_index": 0, "audio_end_ms": 5},
        {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}},
        {"type": "session.update", "session": {"type": "transcription"}},
        {
            "type": "session.update",
            "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}},
        },
        {
            "type": "session.update",
            "session": {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}},
        },
    ]
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(EVENTS, max_size=12))
async def test_whatever_the_order_of_events_each_begun_response_ends_and_the_session_lives_on(
    events: list[dict[str, Any]],
) -> None:
    scripted = quick()
    async with serving(scripted) as served, served.client() as client:
        for event in events:
            await client.socket.send(json.dumps(event))
        await client.send("session.update", session={"type": "realtime", "instructions": "the last"})
        while (await client.next()).get("session", {}).get("instructions") != "the last":
            pass
        while len(client.of("response.done")) < len(client.of("response.created")):
            await client.next()
        begun = [event["response"]["id"] for event in client.of("response.created")]
        assert sorted(event["response"]["id"] for event in client.of("response.done")) == sorted(begun)
