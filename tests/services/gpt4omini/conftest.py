"""gpt4omini, loaded, and a server of the OpenAI chat protocol for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from services.llm.gpt4omini import Gpt4oMini
from shared.payloads import ChatMessage
from shared.settings import settings
from tests.support.chat_server import ChatServer
from tests.support.replies import texts

QUESTION = [ChatMessage(role="system", content="Be short."), ChatMessage(role="user", content="Hello?")]


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer().running() as running:
        yield running


@pytest.fixture
def configure(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, without_certificates: None
) -> Iterator[Callable[..., None]]:
    """Sets environment variables and has the settings read anew."""

    def set_variables(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.cache_clear()

    set_variables(OPENAI_API_KEY="sk-test", S2S_OPENAI_BASE_URL=server.base_url)
    yield set_variables
    settings.cache_clear()


@pytest.fixture
async def load(configure: Callable[..., None]) -> AsyncIterator[Callable[..., Gpt4oMini]]:
    """Sets environment variables and loads an engine, which is closed after the test."""
    loaded: list[Gpt4oMini] = []

    def load_with(**variables: object) -> Gpt4oMini:
        configure(**variables)
        loaded.append(Gpt4oMini())
        loaded[-1].load()
        return loaded[-1]

    yield load_with
    for engine in loaded:
        await asyncio.to_thread(engine.close)


@pytest.fixture
def engine(load: Callable[..., Gpt4oMini]) -> Gpt4oMini:
    return load()


async def answer(
    engine: Gpt4oMini, messages: list[ChatMessage] = QUESTION, max_tokens: int = 50
) -> list[str]:
    reply = engine.generate(messages, max_tokens=max_tokens, temperature=0.5)
    return [text async for text in texts(reply)]
