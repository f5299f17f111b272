"""What gpt4omini sends to a server of the OpenAI chat protocol, its replies, and their cancellation."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from services.llm.gpt4omini import Gpt4oMini
from shared.errors import (
    Misconfigured,
    SpeechError,
)
from shared.payloads import ChatMessage, TextDelta
from tests.services.gpt4omini.conftest import QUESTION, answer
from tests.support.chat_server import (
    ChatServer,
    Exchange,
    reply,
    silence_after,
)
from tests.support.waiting import GIVE_UP_S


async def test_the_conversation_is_sent_with_the_key_and_the_reply_comes_piece_by_piece(
    engine: Gpt4oMini, server: ChatServer
) -> None:
    server.behaviour = reply(None, "Good", "", " day", "!")
    assert await answer(engine) == ["Good", " day", "!"]
    (exchange,) = server.exchanges
    assert exchange.path == "/v1/chat/completions"
    assert exchange.headers["authorization"] == "Bearer sk-test"
    assert exchange.body == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello?"}],
        "max_tokens": 50,
        "temperature": 0.5,
        "stream": True,
    }


async def test_another_model_may_be_asked_for(server: ChatServer, load: Callable[..., Gpt4oMini]) -> None:
    engine = load(S2S_OPENAI_MODEL="qwen3")
    await answer(engine)
    assert engine.model_name == "qwen3"
    assert server.exchanges[0].body["model"] == "qwen3"


async def test_a_reply_cut_at_its_token_limit_is_a_reply(engine: Gpt4oMini, server: ChatServer) -> None:
    server.behaviour = reply("Once upon", " a", finish_reason="length")
    assert await answer(engine) == ["Once upon", " a"]


async def test_a_letter_that_arrives_in_two_parts_is_put_together(
    engine: Gpt4oMini, server: ChatServer
) -> None:
    async def split(exchange: Exchange) -> None:
        await exchange.begin_stream()
        data = 'data: {"choices": [{"index": 0, "delta": {"content": "Grüße"}}]}\n\n'.encode()
        cut = data.index("ü".encode()) + 1
        for part in (data[:cut], data[cut:]):
            await exchange.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await asyncio.sleep(0.01)
        await exchange.end()

    server.behaviour = split
    assert await answer(engine) == ["Grüße"]


async def test_one_connection_serves_one_reply_after_another(engine: Gpt4oMini, server: ChatServer) -> None:
    for _ in range(3):
        await answer(engine)
    assert server.connections == 1


async def test_replies_at_the_same_time_are_not_mixed_up(engine: Gpt4oMini, server: ChatServer) -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.begin_stream()
        for letter in exchange.body["messages"][0]["content"]:
            await exchange.write(letter)
            await asyncio.sleep(0)
        await exchange.end()

    server.behaviour = echo
    said = [f"conversation {number}" for number in range(20)]
    replies = await asyncio.gather(
        *(answer(engine, [ChatMessage(role="user", content=text)]) for text in said)
    )
    assert ["".join(pieces) for pieces in replies] == said


async def test_options_are_sent_with_each_request(server: ChatServer, load: Callable[..., Gpt4oMini]) -> None:
    engine = load(S2S_OPENAI_OPTIONS='{"reasoning_effort": "none"}')
    await answer(engine)
    assert server.exchanges[0].body["reasoning_effort"] == "none"


@pytest.mark.parametrize("options", ["{", "[]", "fast"])
def test_options_that_are_no_json_object_are_refused(configure: Callable[..., None], options: str) -> None:
    configure(S2S_OPENAI_OPTIONS=options)
    with pytest.raises(Misconfigured, match="S2S_OPENAI_OPTIONS"):
        Gpt4oMini().load()


# Cancellation


async def test_closing_a_reply_hangs_up(engine: Gpt4oMini, server: ChatServer) -> None:
    server.behaviour = silence_after("Hello")
    async with aclosing(engine.generate(QUESTION, max_tokens=50, temperature=0.5)) as pieces:
        assert await anext(pieces) == TextDelta(text="Hello")
        assert not server.hung_up.is_set()
    await asyncio.wait_for(server.hung_up.wait(), GIVE_UP_S)


async def test_cancelling_who_waits_for_the_first_piece_hangs_up(
    engine: Gpt4oMini, server: ChatServer
) -> None:
    server.behaviour = silence_after()
    waiting = asyncio.create_task(answer(engine))
    await asyncio.wait_for(server.asked.wait(), GIVE_UP_S)
    waiting.cancel()
    await asyncio.wait_for(server.hung_up.wait(), GIVE_UP_S)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_closing_the_engine_ends_a_reply_under_way(engine: Gpt4oMini, server: ChatServer) -> None:
    server.behaviour = silence_after("Hello")
    pieces = engine.generate(QUESTION, max_tokens=50, temperature=0.5)
    await anext(pieces)
    await asyncio.to_thread(engine.close)
    await asyncio.wait_for(server.hung_up.wait(), GIVE_UP_S)
    with pytest.raises(SpeechError):
        await anext(pieces)


# Long conversations


async def test_the_oldest_turns_are_left_out_where_the_context_is_small(
    server: ChatServer, load: Callable[..., Gpt4oMini]
) -> None:
    engine = load(S2S_OPENAI_CONTEXT_TOKENS=300)
    turns = [
        ChatMessage(role="assistant" if number % 2 else "user", content=f"{number} " + "words " * 20)
        for number in range(11)
    ]
    await answer(engine, [QUESTION[0], *turns], max_tokens=50)
    sent = server.exchanges[0].body["messages"]
    assert sent[0] == {"role": "system", "content": "Be short."}
    assert [message["content"].split()[0] for message in sent[1:]] == ["8", "9", "10"]
