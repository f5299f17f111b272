"""/v1/chat/completions, by OpenAI's own client."""

import asyncio
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from shared.errors import BadRequest, StageFailed
from shared.payloads import ChatMessage, TokenUsage, Tool, ToolCall
from tests.gateway.rest.conftest import Served, rest_api
from tests.support.scripted_stages import HANG, Cast
from tests.support.waiting import until_async

QUESTION: Any = [{"role": "user", "content": "How is the weather?"}]
CALL = ToolCall(call_id="call_1", name="weather", arguments='{"city": "Oslo"}')
OTHER_CALL = ToolCall(call_id="call_2", name="weather", arguments='{"city": "Rome"}')
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "description": "Looks.", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "time"}},
]


async def complete(api: Served, messages: Any = QUESTION, **wanted: Any) -> ChatCompletion:
    answer = await api.client.chat.completions.create(model="gpt-4o", messages=messages, **wanted)
    assert isinstance(answer, ChatCompletion)
    return answer


async def test_a_question_is_answered_by_the_llm(api: Served) -> None:
    answer = await complete(api)
    (choice,) = answer.choices
    assert choice.message.content == "It is sunny outside."
    assert (choice.finish_reason, choice.message.tool_calls) == ("stop", None)
    assert answer.model == "scripted/LLM"
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        5,
        5,
        10,
    )


async def test_the_conversation_reaches_the_llm_as_it_is(api: Served, scripted: Cast) -> None:
    calls = [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": CALL.arguments}}
    ]
    await complete(
        api,
        [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "How is"}, {"type": "text", "text": "Oslo?"}],
            },
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"},
        ],
        tools=TOOLS,
        max_completion_tokens=50,
        temperature=0.1,
    )
    given = scripted.llm.calls[0].given
    assert given["messages"] == [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="How is\nOslo?"),
        ChatMessage(role="assistant", tool_calls=(CALL,)),
        ChatMessage(role="tool", tool_call_id="call_1", content="12 degrees"),
    ]
    assert given["tools"] == [
        Tool(name="weather", description="Looks.", parameters=PARAMETERS),
        Tool(name="time"),
    ]
    assert (given["max_tokens"], given["temperature"]) == (50, 0.1)


@pytest.mark.parametrize(
    ("wanted", "limit"), [({}, 200), ({"max_tokens": 20}, 20), ({"max_completion_tokens": 5_000}, 200)]
)
async def test_a_reply_is_no_longer_than_the_settings_allow(
    api: Served, scripted: Cast, wanted: dict[str, Any], limit: int
) -> None:
    await complete(api, **wanted)
    assert scripted.llm.calls[0].given["max_tokens"] == limit


async def test_a_reply_without_end_is_cut(scripted: Cast) -> None:
    scripted.llm.scripts = [["five " for _ in range(50)]]
    async with rest_api(scripted, max_reply_characters=20) as api:
        (choice,) = (await complete(api)).choices
    assert (choice.message.content, choice.finish_reason) == ("five five five five ", "length")
    await until_async(lambda: not scripted.under_way)


@pytest.mark.parametrize(("at_limit", "finish_reason"), [(True, "length"), (False, "stop")])
async def test_why_it_ended_and_what_it_took_is_what_the_llms_server_says(
    api: Served, scripted: Cast, at_limit: bool, finish_reason: str
) -> None:
    scripted.llm.tokens = TokenUsage(input_tokens=31, output_tokens=4, at_limit=at_limit)
    answer = await complete(api)
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (31, 4)
    assert answer.choices[0].finish_reason == finish_reason


async def test_tool_calls_are_passed_on(api: Served, scripted: Cast) -> None:
    scripted.llm.scripts = [["Let me look. ", CALL, OTHER_CALL]]
    (choice,) = (await complete(api, tools=TOOLS)).choices
    assert (choice.message.content, choice.finish_reason) == ("Let me look. ", "tool_calls")
    calls: Any = choice.message.tool_calls
    assert [(one.id, one.function.name, one.function.arguments) for one in calls] == [
        ("call_1", "weather", CALL.arguments),
        ("call_2", "weather", OTHER_CALL.arguments),
    ]


@pytest.mark.parametrize(
    ("choice", "offered"),
    [
        ("auto", ["weather", "time"]),
        ("required", ["weather", "time"]),
        ("none", []),
        ({"type": "function", "function": {"name": "time"}}, ["time"]),
    ],
)
async def test_the_choice_of_tools_says_which_are_offered(
    api: Served, scripted: Cast, choice: Any, offered: list[str]
) -> None:
    await complete(api, tools=TOOLS, tool_choice=choice)
    tools = scripted.llm.calls[0].given["tools"]
    assert [tool.name for tool in tools] == offered
    assert all(tool.required == (choice != "auto") for tool in tools)


async def test_a_stream_sends_the_reply_while_it_is_written(api: Served, scripted: Cast) -> None:
    scripted.llm.scripts = [["It is ", HANG]]
    stream = await api.client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True)
    first = await anext(aiter(stream))
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "It is ")
    assert scripted.under_way
    await stream.close()
    await until_async(lambda: not scripted.under_way)


async def test_a_streams_parts_make_the_whole(api: Served, scripted: Cast) -> None:
    scripted.llm.scripts = [["Let me ", "look. ", CALL, OTHER_CALL]]
    stream = await api.client.chat.completions.create(
        model="gpt-4o", messages=QUESTION, tools=TOOLS, stream=True, stream_options={"include_usage": True}
    )
    *parts, usage = [chunk async for chunk in stream]
    assert len({chunk.id for chunk in [*parts, usage]}) == 1
    deltas = [chunk.choices[0].delta for chunk in parts]
    assert [delta.role for delta in deltas] == ["assistant", None, None, None, None]
    assert "".join(delta.content or "" for delta in deltas) == "Let me look. "
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [(call.index, call.id) for call in calls] == [(0, "call_1"), (1, "call_2")]
    assert [chunk.choices[0].finish_reason for chunk in parts] == [None, None, None, None, "tool_calls"]
    assert usage.choices == []
    assert usage.usage
    assert usage.usage.total_tokens > 0


async def test_a_stream_has_its_usage_only_where_it_is_wanted(api: Served) -> None:
    stream = await api.client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True)
    assert {chunk.usage async for chunk in stream} == {None}


async def test_openais_helper_for_streams_assembles_the_reply(api: Served, scripted: Cast) -> None:
    scripted.llm.scripts = [["Let me look. ", CALL]]
    async with api.client.chat.completions.stream(model="gpt-4o", messages=QUESTION, tools=TOOLS) as stream:
        whole = await stream.get_final_completion()
    (choice,) = whole.choices
    assert (choice.message.content, choice.finish_reason) == ("Let me look. ", "tool_calls")


@pytest.mark.parametrize(
    "wanted",
    [
        {"n": 2},
        {"functions": [{"name": "look"}]},
        {"web_search_options": {}},
        {"stop": ["\n"]},
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"modalities": ["text", "audio"]},
        {"temperature": 3},
        {"max_tokens": 0},
        {"tools": "all"},
        {"tool_choice": "perhaps"},
    ],
)
async def test_what_cannot_be_done_is_refused_with_the_name_of_its_field(
    api: Served, scripted: Cast, wanted: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await complete(api, **wanted)
    (field,) = wanted
    assert str(refused.value.param).startswith(field)
    assert not scripted.llm.calls


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "x" * 100_001}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.org/cat"}}]}],
        [{"role": "narrator", "content": "Once upon a time."}],
        [{"role": "tool", "content": "a result of nothing"}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": "hello"}] * 1_001,
    ],
)
async def test_messages_that_are_none_or_too_much_are_refused(
    api: Served, scripted: Cast, messages: Any
) -> None:
    with pytest.raises(openai.BadRequestError):
        await complete(api, messages)
    assert not scripted.llm.calls


@pytest.mark.parametrize("tools", [{"name": "has spaces"}, {"name": "x", "parameters": {"a": "b" * 20_001}}])
async def test_tools_out_of_bounds_are_refused(api: Served, tools: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        await complete(api, tools=[{"type": "function", "function": tools}])


async def test_a_refusal_does_not_repeat_what_was_said(api: Served) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await complete(api, [{"role": "user", "content": "secret " * 20_000}])
    assert "secret" not in str(refused.value.body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status"), [(StageFailed("The LLM is tired."), 503), (BadRequest("It has no tools."), 400)]
)
async def test_a_stage_that_fails_at_once_is_answered_with_its_status(
    api: Served, scripted: Cast, error: Exception, status: int, stream: bool
) -> None:
    scripted.llm.scripts = [[error]]
    with pytest.raises(openai.APIStatusError) as failed:
        await api.client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=stream)
    assert failed.value.status_code == status


async def test_a_stream_that_breaks_off_says_why(api: Served, scripted: Cast) -> None:
    scripted.llm.scripts = [["It is ", StageFailed("The LLM is tired.")]]
    stream = await api.client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True)
    with pytest.raises(openai.APIError, match="The LLM is tired"):
        async for _ in stream:
            pass


async def test_a_client_that_leaves_cancels_the_reply(api: Served, scripted: Cast) -> None:
    scripted.llm.scripts = [[HANG]]
    waiting = asyncio.create_task(complete(api))
    await until_async(lambda: scripted.llm.calls)
    waiting.cancel()
    await until_async(lambda: not scripted.under_way)


async def test_an_llm_that_does_not_go_on_is_timed_out(scripted: Cast) -> None:
    scripted.llm.scripts = [[HANG]]
    async with rest_api(scripted, llm_timeout_s=0.1) as api:
        with pytest.raises(openai.InternalServerError) as failed:
            await complete(api)
    assert (failed.value.status_code, failed.value.code) == (503, "stage_timed_out")
