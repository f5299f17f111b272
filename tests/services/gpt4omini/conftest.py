"""gpt4omini, loaded, and a server of the OpenAI chat protocol for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from services.llm.gpt4omini import Gpt4oMini
from shared.payloads import ChatMessage
from shared.settings import settings
from tests.support.chat_server import (
    ChatServer,
)
from tests.support.replies import texts

QUESTION = [ChatMessage(role="system", content="Be short."), ChatMessage(role="user", content="Hello?")]


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer().running() as running:
        yield running


@pytest.fixture
def configure(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., None]]:
    """Sets environment variables and has the settings read anew."""

    def set_variables(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.cache_clear()

    monkeypatch.setenv(
        "SSL_CERT_DIR", str(tmp_path)
    )  # reading the machine's certificates takes 50 ms a client
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
