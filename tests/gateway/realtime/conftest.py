"""What the tests of Realtime sessions share."""

from collections.abc import AsyncIterator

import pytest

from tests.support.realtime_client import Client, Served, serving
from tests.support.scripted_stages import Cast, Script, cast, typed

TRANSCRIPT = "what is the weather like"
REPLY = "It is sunny."


def quick(*replies: str) -> Cast:
    """Stages that answer within hundredths of a second."""
    asr: list[Script] = [[0.01, TRANSCRIPT]]
    return cast(asr=asr, llm=[typed(reply, first_s=0.01) for reply in replies or (REPLY,)])


@pytest.fixture
def scripted() -> Cast:
    return quick()


@pytest.fixture
async def served(scripted: Cast) -> AsyncIterator[Served]:
    async with serving(scripted) as served:
        yield served


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    async with served.client() as client:
        yield client
