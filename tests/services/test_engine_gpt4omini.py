"""gpt4omini against a server of the OpenAI chat protocol that misbehaves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from services.llm.gpt4omini import Gpt4oMini
from shared.errors import (
    BadRequest,
    Misconfigured,
    Overloaded,
    SpeechError,
    Stage,
    StageFailed,
    StageTimedOut,
    TooLong,
)
from shared.payloads import ChatMessage, TextDelta
from shared.settings import settings
from tests.support.chat_server import (
    ChatServer,
    Exchange,
    hang_up_after,
    refusal,
    reply,
    silence_after,
)
from tests.support.replies import texts

QUESTION = [ChatMessage(role="system", content="Be short."), ChatMessage(role="user", content="Hello?")]


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer().running() as running:
        yield running


@pytest.fixture
def configure(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets environment variables and has the settings read anew."""

    def set_variables(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.cache_clear()

    set_variables(OPENAI_API_KEY="sk-test", S2S_OPENAI_BASE_URL=server.base_url)
    yield set_variables
    settings.cache_clear()


@pytest.fixture
async def engine(configure: Callable[..., None]) -> AsyncIterator[Gpt4oMini]:
    loaded = Gpt4oMini()
    loaded.load()
    yield loaded
    await asyncio.to_thread(loaded.close)


async def answer(
    engine: Gpt4oMini, messages: list[ChatMessage] = QUESTION, max_tokens: int = 50
) -> list[str]:
    reply = engine.generate(messages, max_tokens=max_tokens, temperature=0.5)
    return [text async for text in texts(reply)]


def error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "some_error", "param": None, "code": code}}


# Replies


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


async def test_another_model_may_be_asked_for(server: ChatServer, configure: Callable[..., None]) -> None:
    configure(S2S_OPENAI_MODEL="qwen3")
    engine = Gpt4oMini()
    engine.load()
    await answer(engine)
    assert engine.model_name == "qwen3"
    assert server.exchanges[0].body["model"] == "qwen3"
    await asyncio.to_thread(engine.close)


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


async def test_options_are_sent_with_each_request(server: ChatServer, configure: Callable[..., None]) -> None:
    configure(S2S_OPENAI_OPTIONS='{"reasoning_effort": "none"}')
    engine = Gpt4oMini()
    engine.load()
    await answer(engine)
    assert server.exchanges[0].body["reasoning_effort"] == "none"
    await asyncio.to_thread(engine.close)


@pytest.mark.parametrize("options", ["{", "[]", "fast"])
def test_options_that_are_no_json_object_are_refused(configure: Callable[..., None], options: str) -> None:
    configure(S2S_OPENAI_OPTIONS=options)
    with pytest.raises(Misconfigured, match="S2S_OPENAI_OPTIONS"):
        Gpt4oMini().load()


# Errors before the reply


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (429, error("Rate limit reached for requests", "rate_limit_exceeded"), Overloaded, "Rate limit"),
        (429, error("You exceeded your quota", "insufficient_quota"), Misconfigured, "no credit left"),
        (401, error("Incorrect API key provided", "invalid_api_key"), Misconfigured, "OPENAI_API_KEY"),
        (403, error("Country not supported"), Misconfigured, "Country not supported"),
        (404, error("The model does not exist", "model_not_found"), Misconfigured, "does not exist"),
        (400, error("temperature must be below 2"), BadRequest, "temperature must be below 2"),
        (422, error("messages is required"), BadRequest, "messages is required"),
        (400, error("Too much", "context_length_exceeded"), TooLong, "too long"),
        (400, error("This model's maximum context length is 4096 tokens."), TooLong, "4096"),
        (400, error("the request exceeds the available context size"), TooLong, "too long"),
        (500, error("The server had an error"), StageFailed, "failed"),
        (502, "<html><h1>Bad Gateway</h1></html>", StageFailed, "failed"),
        (503, error("Overloaded, try again later"), StageFailed, "try again later"),
        (500, "", StageFailed, "failed"),
        (429, [], Overloaded, "overloaded"),
    ],
)
async def test_a_refusal_is_told_as_what_it_is(
    engine: Gpt4oMini,
    server: ChatServer,
    status: int,
    body: object,
    kind: type[SpeechError],
    told: str,
) -> None:
    server.behaviour = refusal(status, body)
    with pytest.raises(kind, match=told) as raised:
        await answer(engine)
    assert type(raised.value) is kind
    assert raised.value.stage is Stage.LLM
    assert "gpt-4o-mini" in raised.value.message
    assert "<" not in raised.value.message
    assert len(server.exchanges) == 1  # retrying is the turn's business


async def test_a_server_that_is_not_there_is_a_retryable_failure(configure: Callable[..., None]) -> None:
    configure(S2S_OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    engine = Gpt4oMini()
    engine.load()
    with pytest.raises(StageFailed, match="connection to gpt-4o-mini failed"):
        await answer(engine)
    await asyncio.to_thread(engine.close)


def test_without_a_key_it_does_not_load(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(Misconfigured, match="OPENAI_API_KEY is not set"):
        Gpt4oMini().load()
    assert "OPENAI_API_KEY" in (Gpt4oMini.missing() or "")


async def test_a_server_that_never_answers_is_timed_out(
    server: ChatServer, configure: Callable[..., None]
) -> None:
    configure(S2S_LLM_TIMEOUT_S=0.2)
    engine = Gpt4oMini()
    engine.load()
    server.behaviour = silence_after()
    with pytest.raises(StageTimedOut, match="did not answer in time"):
        await answer(engine)
    await asyncio.wait_for(server.hung_up.wait(), 10)
    await asyncio.to_thread(engine.close)


# Errors in the middle of a reply


@pytest.mark.parametrize(
    "event",
    [
        None,
        error("The engine has died"),
        "{no json",
        "[1, 2]",
        {"choices": "none"},
        {"choices": [{"index": 0, "delta": None}]},
    ],
)
async def test_a_reply_that_breaks_off_gives_what_came_and_then_a_retryable_failure(
    engine: Gpt4oMini, server: ChatServer, event: object
) -> None:
    server.behaviour = hang_up_after("Hello", " there", event=event)
    came: list[str] = []
    with pytest.raises(StageFailed, match="gpt-4o-mini") as raised:
        async for text in texts(engine.generate(QUESTION, max_tokens=50, temperature=0.5)):
            came.append(text)
    assert came == ["Hello", " there"]
    assert raised.value.stage is Stage.LLM
    server.behaviour = reply("Better.")
    assert await answer(engine) == ["Better."]


async def test_a_stream_that_ends_without_a_reason_has_broken_off(
    engine: Gpt4oMini, server: ChatServer
) -> None:
    async def end_early(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.write("Hello")
        await exchange.send(b"0\r\n\r\n")

    server.behaviour = end_early
    with pytest.raises(StageFailed, match="broke off in the middle"):
        await answer(engine)


async def test_a_web_page_in_place_of_a_reply_is_a_failure(engine: Gpt4oMini, server: ChatServer) -> None:
    server.behaviour = refusal(200, "<html>Please log in</html>", "text/html")
    with pytest.raises(StageFailed):
        await answer(engine)


async def test_silence_in_the_middle_of_a_reply_is_timed_out(
    server: ChatServer, configure: Callable[..., None]
) -> None:
    configure(S2S_LLM_TIMEOUT_S=0.2)
    engine = Gpt4oMini()
    engine.load()
    server.behaviour = silence_after("Hello")
    with pytest.raises(StageTimedOut):
        await answer(engine)
    await asyncio.to_thread(engine.close)


async def test_a_content_filter_that_lets_nothing_pass_is_told(engine: Gpt4oMini, server: ChatServer) -> None:
    server.behaviour = reply(finish_reason="content_filter")
    with pytest.raises(BadRequest, match="content filter"):
        await answer(engine)
    server.behaviour = reply("I would say", finish_reason="content_filter")
    assert await answer(engine) == ["I would say"]


# Cancellation


async def test_closing_a_reply_hangs_up(engine: Gpt4oMini, server: ChatServer) -> None:
    server.behaviour = silence_after("Hello")
    async with aclosing(engine.generate(QUESTION, max_tokens=50, temperature=0.5)) as pieces:
        assert await anext(pieces) == TextDelta(text="Hello")
        assert not server.hung_up.is_set()
    await asyncio.wait_for(server.hung_up.wait(), 10)


async def test_cancelling_who_waits_for_the_first_piece_hangs_up(
    engine: Gpt4oMini, server: ChatServer
) -> None:
    server.behaviour = silence_after()
    waiting = asyncio.create_task(answer(engine))
    await asyncio.wait_for(server.asked.wait(), 10)
    waiting.cancel()
    await asyncio.wait_for(server.hung_up.wait(), 10)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_closing_the_engine_ends_a_reply_under_way(engine: Gpt4oMini, server: ChatServer) -> None:
    server.behaviour = silence_after("Hello")
    pieces = engine.generate(QUESTION, max_tokens=50, temperature=0.5)
    await anext(pieces)
    await asyncio.to_thread(engine.close)
    await asyncio.wait_for(server.hung_up.wait(), 10)
    with pytest.raises(SpeechError):
        await anext(pieces)


# Long conversations


async def test_the_oldest_turns_are_left_out_where_the_context_is_small(
    server: ChatServer, configure: Callable[..., None]
) -> None:
    configure(S2S_OPENAI_CONTEXT_TOKENS=300)
    engine = Gpt4oMini()
    engine.load()
    turns = [
        ChatMessage(role="assistant" if number % 2 else "user", content=f"{number} " + "words " * 20)
        for number in range(11)
    ]
    await answer(engine, [QUESTION[0], *turns], max_tokens=50)
    sent = server.exchanges[0].body["messages"]
    assert sent[0] == {"role": "system", "content": "Be short."}
    assert [message["content"].split()[0] for message in sent[1:]] == ["8", "9", "10"]
    await asyncio.to_thread(engine.close)
