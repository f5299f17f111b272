"""Tools: calls go out, results come in."""

from typing import Any

import pytest

from shared.payloads import ToolCall
from tests.gateway.realtime.test_items import create, text_item
from tests.support.realtime_client import Client, serving
from tests.support.scripted_stages import Cast, cast, typed

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALL = ToolCall(call_id="call_1", name="weather", arguments='{"city": "Oslo"}')


def calling(*before: Any) -> Cast:
    return cast(llm=[[0.01, *before, CALL], typed("It is twelve degrees.", first_s=0.01)])


async def asked(client: Client, **session: Any) -> None:
    await client.update(tools=[WEATHER], **session)
    await create(client, text_item("How is the weather in Oslo?"))
    await client.send("response.create")


async def test_a_call_goes_out_as_an_item_in_the_documented_order() -> None:
    async with serving(calling()) as served, served.client() as client:
        await asked(client)
        before = len(client.events)
        done = await client.until("response.done")
        assert [event["type"] for event in client.events[before:]] == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
        (added,) = client.of("response.output_item.added")
        assert added["item"]["arguments"] == ""
        assert added["item"]["status"] == "in_progress"
        (arguments,) = client.of("response.function_call_arguments.done")
        assert (arguments["name"], arguments["call_id"]) == ("weather", "call_1")
        (item,) = done["response"]["output"]
        assert item["status"] == "completed"
        assert item["arguments"] == CALL.arguments


async def test_its_result_is_answered() -> None:
    scripted = calling()
    async with serving(scripted) as served, served.client() as client:
        await asked(client)
        await client.until("response.done")
        await create(client, {"type": "function_call_output", "call_id": "call_1", "output": "12 degrees"})
        await client.send("response.create")
        await client.until("response.done")
        assert client.transcript == "It is twelve degrees."
        messages = scripted.llm.calls[1].given["messages"]
        assert [one.role for one in messages] == ["system", "user", "assistant", "tool"]
        assert [tool.name for tool in scripted.llm.calls[1].given["tools"]] == ["weather"]


async def test_what_is_said_before_a_call_is_an_item_that_ends_before_it() -> None:
    async with serving(calling("Let me look.")) as served, served.client() as client:
        await asked(client)
        done = await client.until("response.done")
        assert [item["type"] for item in done["response"]["output"]] == ["message", "function_call"]
        kinds = "response.output_item.added", "response.output_item.done"
        items = [(event["output_index"], event["type"]) for event in client.events if event["type"] in kinds]
        assert items == [(0, kinds[0]), (0, kinds[1]), (1, kinds[0]), (1, kinds[1])]


async def test_tool_choice_none_keeps_the_tools_from_the_llm() -> None:
    scripted = cast(llm=[typed("I cannot.", first_s=0.01)])
    async with serving(scripted) as served, served.client() as client:
        await asked(client, tool_choice="none")
        await client.until("response.done")
    assert scripted.llm.calls[0].given["tools"] == []


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "name": "weather"}])
async def test_a_required_tool_is_required_of_the_llm(choice: Any) -> None:
    scripted = calling()
    async with serving(scripted) as served, served.client() as client:
        await asked(client, tool_choice=choice)
        await client.until("response.done")
    assert [tool.required for tool in scripted.llm.calls[0].given["tools"]] == [choice != "auto"]
