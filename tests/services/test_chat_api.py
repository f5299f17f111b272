"""The client of the OpenAI chat protocol: what reasoning models take and think, and tool calls."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.llm.chat_api import ChatApi
from services.llm.chat_stream import ThoughtFilter
from shared.errors import Misconfigured, StageFailed
from shared.payloads import ChatMessage, LLMDelta, TextDelta, TokenUsage, Tool, ToolCall
from tests.support.chat_server import Behaviour, ChatServer, Exchange, deltas, reply

WEATHER = Tool(
    name="weather",
    description="The weather somewhere.",
    parameters={"type": "object", "properties": {"place": {"type": "string"}}},
)
OSLO = ToolCall(call_id="call_1", name="weather", arguments='{"place": "Oslo"}')
QUESTION = [ChatMessage(role="user", content="Hello?")]


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer().running() as running:
        yield running


@pytest.fixture
async def api(server: ChatServer) -> AsyncIterator[ChatApi]:
    client = ChatApi(server.base_url, "sk-test", "some-model", server="some-model", timeout_s=10.0)
    yield client
    client.close()


async def all_deltas(
    api: ChatApi, messages: Sequence[ChatMessage] = QUESTION, tools: Sequence[Tool] = ()
) -> list[LLMDelta | TokenUsage]:
    return [delta async for delta in api.reply(messages, tools=tools, max_tokens=50, temperature=0.5)]


async def answer(api: ChatApi) -> list[str]:
    return [delta.text for delta in await all_deltas(api) if isinstance(delta, TextDelta)]


def call_delta(
    index: int, call_id: str | None = None, name: str | None = None, arguments: str = ""
) -> dict[str, object]:
    function = {"arguments": arguments} | ({"name": name} if name is not None else {})
    call = {"index": index, "function": function} | ({"id": call_id, "type": "function"} if call_id else {})
    return {"tool_calls": [call]}


# What a reply took


def reply_with_usage(usage: object, finish_reason: str = "stop") -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.write("Hello!")
        await exchange.event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
        await exchange.event({"choices": [], "usage": usage})
        await exchange.event("[DONE]")
        await exchange.send(b"0\r\n\r\n")

    return behave


async def test_what_the_server_counts_comes_last(api: ChatApi, server: ChatServer) -> None:
    server.behaviour = reply_with_usage({"prompt_tokens": 31, "completion_tokens": 2, "total_tokens": 33})
    assert await all_deltas(api) == [
        TextDelta(text="Hello!"),
        TokenUsage(input_tokens=31, output_tokens=2),
    ]


async def test_a_reply_that_was_cut_at_its_limit_says_so(api: ChatApi, server: ChatServer) -> None:
    server.behaviour = reply_with_usage({"prompt_tokens": 31, "completion_tokens": 50}, "length")
    assert (await all_deltas(api))[-1] == TokenUsage(input_tokens=31, output_tokens=50, at_limit=True)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1, "completion_tokens": "many"}, "none"])
async def test_what_is_no_count_is_left_out(api: ChatApi, server: ChatServer, usage: object) -> None:
    server.behaviour = reply_with_usage(usage)
    assert await all_deltas(api) == [TextDelta(text="Hello!")]


async def test_a_server_that_may_not_know_the_field_is_not_asked_to_count(
    api: ChatApi, server: ChatServer
) -> None:
    await all_deltas(api)
    assert "stream_options" not in server.exchanges[0].body


async def test_a_server_of_our_own_is_asked_to_count(server: ChatServer, tmp_path: Path) -> None:
    socket = tmp_path / "server.sock"
    async with await asyncio.start_unix_server(server.serve, socket):
        api = ChatApi("http://own/v1", "no key", "some-model", server="own", timeout_s=10.0, socket=socket)
        await all_deltas(api)
        api.close()
    assert server.exchanges[0].body["stream_options"] == {"include_usage": True}


# Reasoning models


@pytest.mark.parametrize(
    ("message", "refused", "instead"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "max_tokens",
            {"max_completion_tokens": 50, "temperature": 0.5},
        ),
        (
            "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) "
            "value is supported.",
            "temperature",
            {"max_tokens": 50},
        ),
    ],
)
async def test_what_a_model_refuses_is_left_out_from_then_on(
    api: ChatApi, server: ChatServer, message: str, refused: str, instead: dict[str, Any]
) -> None:
    async def behave(exchange: Exchange) -> None:
        if refused in exchange.body:
            await exchange.answer(400, {"error": {"message": message, "code": "unsupported_value"}})
        else:
            await reply("Fine.")(exchange)

    server.behaviour = behave
    assert await answer(api) == ["Fine."]
    assert await answer(api) == ["Fine."]
    sent = [one.body for one in server.exchanges]
    assert [refused in body for body in sent] == [True, False, False]
    parameters = {"max_tokens", "max_completion_tokens", "temperature"}
    assert {name: sent[1][name] for name in sent[1].keys() & parameters} == instead


@pytest.mark.parametrize(
    ("base_url", "limit"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://somebody.openai.azure.com/openai/v1", "max_completion_tokens"),
        ("https://api.openai.com.example.org/v1", "max_tokens"),
        ("http://127.0.0.1:11434/v1", "max_tokens"),
    ],
)
async def test_openai_is_asked_in_the_way_that_all_of_its_models_take(
    server: ChatServer, base_url: str, limit: str
) -> None:
    api = ChatApi(base_url, "sk-test", "gpt-5", server="gpt-5", timeout_s=5.0)
    api._client.base_url = server.base_url  # the host that was named is not there
    async for _ in api.reply(QUESTION, max_tokens=50, temperature=0.5):
        pass
    assert server.exchanges[0].body[limit] == 50
    await api._client.close()


async def test_a_reply_whose_tokens_are_all_spent_on_reasoning_is_a_misconfiguration(
    api: ChatApi, server: ChatServer
) -> None:
    for behaviour in (reply(finish_reason="length"), reply("<think>Well,", finish_reason="length")):
        server.behaviour = behaviour
        with pytest.raises(Misconfigured, match="S2S_MAX_REPLY_TOKENS"):
            await answer(api)


async def test_reasoning_beside_the_reply_is_not_spoken(api: ChatApi, server: ChatServer) -> None:
    server.behaviour = deltas(
        {"reasoning_content": "A greeting."}, {"reasoning": "Be kind."}, {"content": "Hello!"}
    )
    assert await answer(api) == ["Hello!"]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("<think>A greeting. Be kind.</think>Hello!", "Hello!"),
        ("Yes. <think>\nSure?\n</think>No.", "Yes. No."),
        ("<think></think>Hello!", "Hello!"),
        ("<think>It never ends", ""),
        ("A < B, <b>bold</b> <thin", "A < B, <b>bold</b> <thin"),
        ("The template began it.</think> Hello!", "The template began it. Hello!"),
    ],
)
def test_thoughts_within_the_reply_are_not_spoken(written: str, spoken: str) -> None:
    assert filtered([written]) == spoken


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "/", "think", ">", "<thi", "nk>", "Hi. ", "é"])),
    st.data(),
)
def test_thoughts_are_recognised_wherever_the_reply_is_cut(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[begin:end] for begin, end in pairwise([0, *cuts, len(text)])]
    assert filtered(pieces) == re.sub(r"<think>.*?(</think>|\Z)|</think>", "", text, flags=re.DOTALL)


@given(st.text("<>/ab", max_size=60))
def test_no_more_of_the_reply_is_held_back_than_may_become_a_tag(text: str) -> None:
    thoughts = ThoughtFilter()
    spoken = "".join(map(thoughts.feed, text))
    assert len(text) - len(spoken) < len("</think>")


def filtered(parts: list[str]) -> str:
    thoughts = ThoughtFilter()
    return "".join([*map(thoughts.feed, parts), thoughts.end()])


# Tools


async def test_tools_calls_and_their_results_are_sent(api: ChatApi, server: ChatServer) -> None:
    conversation = [
        ChatMessage(role="user", content="Weather in Oslo?"),
        ChatMessage(role="assistant", tool_calls=(OSLO,)),
        ChatMessage(role="tool", tool_call_id=OSLO.call_id, content="rain"),
    ]
    await all_deltas(api, conversation, [WEATHER])
    body = server.exchanges[0].body
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "The weather somewhere.",
                "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
            },
        }
    ]
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"place": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]


async def test_tools_that_are_required_are_so_for_the_server(api: ChatApi, server: ChatServer) -> None:
    await all_deltas(api, tools=[WEATHER.model_copy(update={"required": True})])
    body = server.exchanges[0].body
    assert body["tool_choice"] == "required"
    assert body["tools"][0]["function"].keys() == {"name", "description", "parameters"}


async def test_without_tools_none_are_sent(api: ChatApi, server: ChatServer) -> None:
    await answer(api)
    assert "tools" not in server.exchanges[0].body


async def test_a_call_s_fragments_are_put_together_and_come_after_the_text(
    api: ChatApi, server: ChatServer
) -> None:
    server.behaviour = deltas(
        {"content": "One moment."},
        call_delta(0, "call_1", "weather", ""),
        call_delta(0, arguments='{"place"'),
        call_delta(0, arguments=': "Oslo"}'),
        finish_reason="tool_calls",
    )
    assert await all_deltas(api) == [TextDelta(text="One moment."), OSLO]


async def test_several_calls_in_one_reply_are_kept_apart(api: ChatApi, server: ChatServer) -> None:
    server.behaviour = deltas(
        call_delta(0, "call_1", "weather", '{"place": '),
        call_delta(1, "call_2", "time", ""),
        call_delta(0, arguments='"Oslo"}'),
        finish_reason="tool_calls",
    )
    assert await all_deltas(api) == [OSLO, ToolCall(call_id="call_2", name="time", arguments="{}")]


async def test_calls_that_a_server_all_numbers_0_or_gives_no_id_are_calls(
    api: ChatApi, server: ChatServer
) -> None:
    server.behaviour = deltas(
        call_delta(0, "call_1", "weather", '{"place": "Oslo"}'), call_delta(0, "call_2", "time", "{}")
    )
    assert await all_deltas(api) == [OSLO, ToolCall(call_id="call_2", name="time", arguments="{}")]
    server.behaviour = deltas(call_delta(0, None, "weather", '{"place": "Oslo"}'))
    (call,) = await all_deltas(api)
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == (OSLO.name, OSLO.arguments)
    assert call.call_id


@pytest.mark.parametrize(
    "fragments",
    [
        [(0, "call_1", "weather", '{"place": "Os')],
        [(0, "call_1", "weather", '["Oslo"]')],
        [(0, "call_1", "the weather", "{}")],
        [(0, "call_1", "", "{}")],
        [(0, "call_1", "weather", "x" * 1000)] * 21,
        [(number, f"call_{number}", "weather", "{}") for number in range(129)],
    ],
    ids=["cut short", "no object", "no name", "empty name", "too long", "too many"],
)
async def test_a_call_that_cannot_be_one_is_a_retryable_failure(
    api: ChatApi, server: ChatServer, fragments: list[tuple[int, str, str, str]]
) -> None:
    server.behaviour = deltas(*(call_delta(*one) for one in fragments), finish_reason="tool_calls")
    with pytest.raises(StageFailed, match="tool call") as raised:
        await all_deltas(api)
    assert raised.value.retryable


async def test_calls_of_a_reply_that_broke_off_are_not_handed_on(api: ChatApi, server: ChatServer) -> None:
    async def end_early(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.delta(**call_delta(0, "call_1", "weather", "{}"))
        await exchange.send(b"0\r\n\r\n")

    server.behaviour = end_early
    with pytest.raises(StageFailed, match="broke off"):
        await all_deltas(api)
