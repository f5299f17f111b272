"""LLM_MODEL=vllm with a model that calls tools, and little time to answer."""

import asyncio
import json
from collections.abc import Iterator, Sequence

import pytest

from services.llm.vllm import AnyOnVllm, VllmLLM
from shared.errors import StageTimedOut
from shared.payloads import ChatMessage, LLMDelta, TextDelta, TokenUsage, Tool, ToolCall
from shared.settings import settings
from tests.engines.tiny_llm import DIALOGUES, WEATHER_ANSWER, WEATHER_QUESTION, WEATHER_RESULT
from tests.engines.vllm.loaded_vllm import Loaded, gone
from tests.support.waiting import until_async

WEATHER = Tool(
    name="weather",
    parameters={"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
)


@pytest.fixture(scope="module")
def chosen() -> Iterator["Loaded"]:
    """The model that the settings name, with tools, and little time to answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S2S_LLM_TIMEOUT_S", "10")
        patch.setenv("S2S_LLM_CONTEXT_LENGTH", "1024")
        patch.setenv("S2S_LLM_TOOL_PARSER", "llama3_json")
        settings.cache_clear()
        engine = AnyOnVllm()
    settings.cache_clear()
    yield Loaded(engine)
    engine.close()


async def test_a_tool_is_called_and_its_result_is_answered(chosen: Loaded) -> None:
    asked = ChatMessage(role="user", content=WEATHER_QUESTION)
    (call,) = await all_deltas(chosen.engine, [asked])
    assert isinstance(call, ToolCall)
    assert call.name == "weather"
    assert json.loads(call.arguments) == {"place": "Oslo"}
    called = ChatMessage(role="assistant", tool_calls=(call,))
    result = ChatMessage(role="tool", tool_call_id=call.call_id, content=WEATHER_RESULT)
    answer = await all_deltas(chosen.engine, [asked, called, result])
    assert "".join(delta.text for delta in answer if isinstance(delta, TextDelta)) == WEATHER_ANSWER


async def test_with_tools_a_question_that_needs_none_is_answered_in_words(chosen: Loaded) -> None:
    answer = await all_deltas(chosen.engine, [ChatMessage(role="user", content="Goodbye.")])
    assert "".join(delta.text for delta in answer if isinstance(delta, TextDelta)) == DIALOGUES["Goodbye."]


async def test_a_long_conversation_with_tools_is_truncated_to_the_context_of_the_setting(
    chosen: Loaded,
) -> None:
    messages = [
        ChatMessage(role="assistant" if index % 2 else "user", content="My name is Ann. " * 4)
        for index in range(100)
    ]
    before = chosen.metric("prompt_tokens_total")
    await all_deltas(chosen.engine, [*messages, ChatMessage(role="user", content="Goodbye.")])
    assert 1024 - 60 - 300 < chosen.metric("prompt_tokens_total") - before <= 1024 - 60


async def all_deltas(engine: VllmLLM, messages: Sequence[ChatMessage]) -> list[LLMDelta]:
    reply = engine.generate(messages, tools=[WEATHER], max_tokens=60, temperature=0.0)
    return [delta async for delta in reply if not isinstance(delta, TokenUsage)]


async def test_a_vllm_whose_engine_hangs_is_ended_though_it_calls_itself_healthy(chosen: Loaded) -> None:
    """The last test of this engine."""
    engine_core = next(one for one in chosen.processes if "EngineCore" in "".join(one.cmdline()))
    engine_core.suspend()
    with pytest.raises(StageTimedOut):
        await chosen.answer("Goodbye.")
    assert chosen.engine._server
    assert await asyncio.to_thread(chosen.engine._server.is_healthy)
    assert not chosen.engine.is_broken()
    with pytest.raises(StageTimedOut):
        await chosen.answer("Goodbye.")
    assert chosen.engine.is_broken()
    await until_async(lambda: gone(chosen.processes))
