"""gpt4omini against a server of the OpenAI chat protocol that misbehaves."""

import asyncio
from collections.abc import Callable
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
from tests.services.gpt4omini.conftest import QUESTION, answer
from tests.support.chat_server import (
    ChatServer,
    Exchange,
    hang_up_after,
    refusal,
    reply,
    silence_after,
)
from tests.support.replies import texts
from tests.support.waiting import GIVE_UP_S


def error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "some_error", "param": None, "code": code}}


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


async def test_a_server_that_is_not_there_is_a_retryable_failure(load: Callable[..., Gpt4oMini]) -> None:
    engine = load(S2S_OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    with pytest.raises(StageFailed, match="connection to gpt-4o-mini failed"):
        await answer(engine)


@pytest.mark.parametrize("key", ["", " "])
def test_without_a_key_it_does_not_load_for_openai(configure: Callable[..., None], key: str) -> None:
    configure(OPENAI_API_KEY=key, S2S_OPENAI_BASE_URL="https://api.openai.com/v1")
    with pytest.raises(Misconfigured, match="OPENAI_API_KEY is not set"):
        Gpt4oMini().load()
    assert Gpt4oMini.missing() == "environment variable OPENAI_API_KEY"


async def test_a_server_of_ones_own_is_asked_without_a_key_too(
    server: ChatServer, load: Callable[..., Gpt4oMini], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert Gpt4oMini.missing() is None
    engine = load()
    server.behaviour = reply("Hello.")
    assert await answer(engine) == ["Hello."]


async def test_a_server_that_never_answers_is_timed_out(
    server: ChatServer, load: Callable[..., Gpt4oMini]
) -> None:
    engine = load(S2S_LLM_TIMEOUT_S=1)
    server.behaviour = silence_after()
    with pytest.raises(StageTimedOut, match="did not answer in time"):
        await answer(engine)
    await asyncio.wait_for(server.hung_up.wait(), GIVE_UP_S)


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
    server: ChatServer, load: Callable[..., Gpt4oMini]
) -> None:
    engine = load(S2S_LLM_TIMEOUT_S=1)
    server.behaviour = silence_after("Hello")
    with pytest.raises(StageTimedOut):
        await answer(engine)


async def test_a_content_filter_that_lets_nothing_pass_is_told(engine: Gpt4oMini, server: ChatServer) -> None:
    server.behaviour = reply(finish_reason="content_filter")
    with pytest.raises(BadRequest, match="content filter"):
        await answer(engine)
    server.behaviour = reply("I would say", finish_reason="content_filter")
    assert await answer(engine) == ["I would say"]
