"""The items of a conversation: created, retrieved, deleted, and what the LLM gets of them."""

import base64
from typing import Any

import pytest

from tests.gateway.realtime.conftest import REPLY
from tests.support.realtime_client import QUESTION, Client, kinds_of, pcm24
from tests.support.scripted_stages import Cast


def text_item(text: str, role: str = "user", **fields: Any) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **fields}


async def create(client: Client, item: dict[str, Any], **fields: Any) -> str:
    await client.send("conversation.item.create", item=item, **fields)
    return str((await client.until("conversation.item.done"))["item"]["id"])


async def test_an_item_is_added_and_done_with_the_clients_id(client: Client) -> None:
    await create(client, text_item("Hello.", id="item_mine"))
    added, done = client.events[-2:]
    assert kinds_of([added, done]) == ["conversation.item.added", "conversation.item.done"]
    assert added["item"]["id"] == done["item"]["id"] == "item_mine"
    assert added["item"]["content"] == [{"type": "input_text", "text": "Hello."}]
    assert added["previous_item_id"] is None


async def test_absent_fields_of_an_item_stay_absent(client: Client) -> None:
    await create(client, text_item("Hello."))
    assert client.events[-1]["item"].keys() == {"id", "object", "type", "role", "status", "content"}


async def test_items_go_where_previous_item_id_says(client: Client, scripted: Cast) -> None:
    await create(client, text_item("two", id="two"))
    await create(client, text_item("three", id="three"))
    await create(client, text_item("one", id="one"), previous_item_id="root")
    await create(client, text_item("two and a half", id="half"), previous_item_id="two")
    assert client.events[-1]["previous_item_id"] == "two"
    await client.send("response.create")
    await client.until("response.done")
    (call,) = scripted.llm.calls
    assert call.given["messages"][-1].content == "one two two and a half three"


async def test_a_deleted_item_is_forgotten(client: Client, scripted: Cast) -> None:
    await create(client, text_item("one", id="one"))
    await create(client, text_item("two", id="two"))
    await client.send("conversation.item.delete", item_id="one")
    assert (await client.until("conversation.item.deleted"))["item_id"] == "one"
    await client.send("response.create")
    await client.until("response.done")
    assert scripted.llm.calls[0].given["messages"][-1].content == "two"


async def test_an_item_is_retrieved(client: Client) -> None:
    await create(client, text_item("one", id="one"))
    await client.send("conversation.item.retrieve", item_id="one")
    retrieved = await client.until("conversation.item.retrieved")
    assert retrieved["item"]["content"] == [{"type": "input_text", "text": "one"}]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "conversation.item.retrieve", "item_id": "none"}, "item_retrieve_invalid_item_id"),
        ({"type": "conversation.item.delete", "item_id": "none"}, "item_delete_invalid_item_id"),
        (
            {
                "type": "conversation.item.truncate",
                "item_id": "none",
                "content_index": 0,
                "audio_end_ms": 0,
            },
            "item_not_found",
        ),
        (
            {"type": "conversation.item.create", "item": text_item("x"), "previous_item_id": "none"},
            "item_not_found",
        ),
        ({"type": "conversation.item.create", "item": text_item("x", id="twice")}, "item_already_exists"),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call", "name": "f", "call_id": "c", "arguments": "no JSON"},
            },
            "invalid_value",
        ),
    ],
)
async def test_what_cannot_be_done_with_an_item_is_an_error(
    client: Client, event: dict[str, Any], code: str
) -> None:
    await create(client, text_item("x", id="twice"))
    fields = {**event, "event_id": "mine"}
    await client.send(fields.pop("type"), **fields)
    error = await client.error()
    assert (error["code"], error["event_id"]) == (code, "mine")


async def test_a_conversation_that_is_replayed_is_what_the_llm_gets(client: Client, scripted: Cast) -> None:
    call = {"type": "function_call", "name": "weather", "call_id": "call_1", "arguments": '{"city": "Oslo"}'}
    for item in (
        text_item("The user is called Ada.", role="system"),
        text_item("How is the weather?"),
        call,
        {"type": "function_call_output", "call_id": "call_1", "output": "12 degrees"},
        text_item("It is twelve degrees.", role="assistant"),
        text_item("And tomorrow?"),
    ):
        await create(client, item)
    await client.send("response.create")
    await client.until("response.done")
    messages = scripted.llm.calls[0].given["messages"]
    assert [(one.role, one.content) for one in messages[1:]] == [
        ("system", "The user is called Ada."),
        ("user", "How is the weather?"),
        ("assistant", ""),
        ("tool", "12 degrees"),
        ("assistant", "It is twelve degrees."),
        ("user", "And tomorrow?"),
    ]
    assert messages[3].tool_calls[0].name == "weather"


async def test_a_call_without_a_result_is_kept_from_the_llm(client: Client, scripted: Cast) -> None:
    await create(client, text_item("How is the weather?"))
    await create(client, {"type": "function_call", "name": "w", "call_id": "call_1", "arguments": "{}"})
    await client.send("response.create")
    await client.until("response.done")
    assert client.transcript == REPLY
    assert [one.role for one in scripted.llm.calls[0].given["messages"]] == ["system", "user"]


async def test_audio_in_an_item_is_transcribed(client: Client, scripted: Cast) -> None:
    audio = base64.b64encode(pcm24(QUESTION)).decode()
    item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": audio}]}
    await create(client, item)
    assert "audio" not in client.events[-1]["item"]["content"][0]
    await client.send("response.create")
    await client.until("response.done")
    assert scripted.llm.calls[0].given["messages"][-1].content == "what is the weather like"
