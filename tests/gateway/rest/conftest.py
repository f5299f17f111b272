"""A gateway's REST API over scripted stages, on a real socket, and OpenAI's own client of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from gateway.access import Access
from gateway.backend import Backend
from gateway.server import Gateway
from orchestrator.pipeline import Pipeline
from shared.errors import Stage
from shared.settings import Settings
from shared.stage_stream import Stages
from tests.gateway.test_metrics import figures
from tests.support.scripted_stages import Cast, cast
from tests.support.serving import served

NAMES = {Stage.ASR: "scripted ASR", Stage.LLM: "scripted/LLM", Stage.TTS: "scripted TTS"}


@dataclass
class Served:
    """What a test has of a gateway."""

    url: str
    client: openai.AsyncOpenAI
    access: Access
    gateway: Gateway

    @property
    def figures(self) -> dict[str, float]:
        return figures(self.gateway.metrics)


@asynccontextmanager
async def rest_api(stages: Stages, **settings: Any) -> AsyncIterator[Served]:
    """Its client does not retry, so that each refusal is seen."""
    chosen = Settings(**settings)
    access = Access(chosen)
    gateway = Gateway(
        Backend(
            stages=stages,
            turns=Pipeline(stages, chosen).stream,
            turn_model=None,
            settings=chosen,
            model_names=NAMES,
        ),
        access,
    )
    async with served(gateway.app) as port:
        url = f"http://127.0.0.1:{port}"
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="no-key", max_retries=0) as client:
            yield Served(url, client, access, gateway)


@pytest.fixture
def scripted() -> Cast:
    """Quick ones; a test changes their scripts."""
    quick = cast(asr=[["what is the weather like"]], llm=[["It is sunny ", "outside."]])
    quick.tts.slowness = 0.0
    return quick


@pytest.fixture
async def api(scripted: Cast) -> AsyncIterator[Served]:
    async with rest_api(scripted, stage_attempts=1) as one:
        yield one
