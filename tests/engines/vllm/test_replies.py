"""Replies of phi3 on the real vLLM, with a tiny model of its architecture, and their cancellation."""

import asyncio
from contextlib import aclosing

import pytest

from shared.errors import TooLong
from shared.payloads import ChatMessage, TokenUsage
from tests.engines.tiny_llm import DIALOGUES, ENDLESS, SYSTEM_PROMPT
from tests.engines.vllm.loaded_vllm import Loaded
from tests.support.replies import texts
from tests.support.waiting import until_async


@pytest.mark.parametrize("question", DIALOGUES)
async def test_phi3_answers_what_its_model_knows(phi3: Loaded, question: str) -> None:
    assert await phi3.answer(question) == DIALOGUES[question]


async def test_the_system_prompt_reaches_the_model(phi3: Loaded) -> None:
    before = phi3.metric("prompt_tokens_total")
    await phi3.answer("Goodbye.")
    without = phi3.metric("prompt_tokens_total") - before
    assert await phi3.answer("Goodbye.", system=SYSTEM_PROMPT) == DIALOGUES["Goodbye."]
    assert phi3.metric("prompt_tokens_total") - before > 2 * without


async def test_a_reply_comes_as_it_is_written(phi3: Loaded) -> None:
    messages = [ChatMessage(role="user", content="Tell me a story.")]
    reply = phi3.engine.generate(messages, max_tokens=60, temperature=0.0)
    parts = [text async for text in texts(reply)]
    assert len(parts) > 5
    assert "".join(parts) == DIALOGUES["Tell me a story."]


async def test_a_reply_says_at_its_end_what_it_took_as_vllm_itself_counts(phi3: Loaded) -> None:
    counters = "prompt_tokens_total", "generation_tokens_total"
    before = [phi3.metric(name) for name in counters]
    messages = [ChatMessage(role="user", content="Goodbye.")]
    *_, last = [one async for one in phi3.engine.generate(messages, max_tokens=60, temperature=0.0)]
    assert isinstance(last, TokenUsage)
    taken = [phi3.metric(name) - earlier for name, earlier in zip(counters, before, strict=True)]
    assert [last.input_tokens, last.output_tokens] == taken


async def test_a_reply_ends_at_its_token_limit(phi3: Loaded) -> None:
    reply = await phi3.answer("Tell me a story.", max_tokens=5)
    assert reply
    assert DIALOGUES["Tell me a story."].startswith(reply)
    assert len(reply) < 40


async def test_concurrent_replies_are_worked_on_together_and_not_mixed_up(phi3: Loaded) -> None:
    questions = [*DIALOGUES] * 4
    singing = asyncio.create_task(phi3.answer(ENDLESS[0], max_tokens=2000))
    await until_async(lambda: phi3.metric("num_requests_running") == 1)
    answers = await asyncio.gather(*(phi3.answer(question) for question in questions))
    assert not singing.done()  # they did not wait for it
    singing.cancel()
    await asyncio.wait([singing])
    assert answers == [DIALOGUES[question] for question in questions]


# Cancellation


async def test_closing_a_reply_aborts_it_in_vllm(phi3: Loaded) -> None:
    before = phi3.metric("generation_tokens_total")
    messages = [ChatMessage(role="user", content=ENDLESS[0])]
    reply = phi3.engine.generate(messages, max_tokens=2000, temperature=0.0)
    async with aclosing(reply):
        for _ in range(3):
            await anext(reply)
    await until_async(lambda: phi3.metric("num_requests_running") == 0)
    assert 3 <= phi3.metric("generation_tokens_total") - before < 1500
    assert await phi3.answer("Goodbye.") == DIALOGUES["Goodbye."]


async def test_cancelling_who_waits_for_a_reply_aborts_it_in_vllm(phi3: Loaded) -> None:
    before = phi3.metric("generation_tokens_total")
    waiting = asyncio.create_task(phi3.answer(ENDLESS[0], max_tokens=2000))
    await until_async(lambda: phi3.metric("num_requests_running") == 1)
    waiting.cancel()
    await until_async(lambda: phi3.metric("num_requests_running") == 0)
    assert 0 < phi3.metric("generation_tokens_total") - before < 1500


# Long conversations


async def test_the_oldest_turns_of_a_long_conversation_are_left_out_and_no_more_than_need_be(
    phi3: Loaded,
) -> None:
    long_ago = ["My name is Ann. " * 4, "Nice to meet you, Ann."] * 200
    before = phi3.metric("prompt_tokens_total")
    await phi3.answer(*long_ago, "Goodbye.", system=SYSTEM_PROMPT, max_tokens=60)
    read = phi3.metric("prompt_tokens_total") - before
    assert 4096 - 60 - 120 < read <= 4096 - 60  # a turn is about a hundred tokens long


async def test_a_question_longer_than_the_context_is_refused_with_its_length(phi3: Loaded) -> None:
    with pytest.raises(TooLong, match=r"\d{4} tokens long.*room for 4036"):
        await phi3.answer("a b " * 3000)
    assert await phi3.answer("Goodbye.") == DIALOGUES["Goodbye."]


async def test_more_tokens_than_the_context_may_be_asked_for(phi3: Loaded) -> None:
    assert await phi3.answer("Goodbye.", max_tokens=100_000) == DIALOGUES["Goodbye."]
