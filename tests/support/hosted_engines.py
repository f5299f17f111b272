"""Engines for the tests of their hosts: they count what is asked of them."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence

import numpy as np

from shared.audio.pcm import Pcm
from shared.engines import ASRModel, EngineSpec, LLMModel, TTSModel
from shared.payloads import ChatMessage, LLMDelta, TextDelta, TokenUsage, Tool
from shared.stage_stream import StageItem

SPEC = EngineSpec(summary="for tests", licence="MIT")
NOISE = Pcm(np.random.default_rng(1).uniform(-0.3, 0.3, 16_000).astype(np.float32), 16_000)
MESSAGES = [ChatMessage(role="user", content="hello")]


class Ears(ASRModel):
    """Hears "words" in everything that it is asked about."""

    spec = SPEC
    model_name = "ears"

    def __init__(self) -> None:
        self.asked = 0

    def load(self) -> None:
        pass

    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        self.asked += 1
        return " words "


class Mind(LLMModel):
    """Counts, slowly, until it is stopped."""

    spec = EngineSpec(summary="for tests", licence="MIT", concurrent_inputs=2)
    model_name = "mind"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.at_work = self.most_at_work = 0

    def load(self) -> None:
        pass

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[LLMDelta | TokenUsage, None]:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            for n in range(max_tokens):
                await asyncio.sleep(0.001)
                yield TextDelta(text=f"{n} ")
            if self.error:
                raise self.error
            yield TokenUsage(input_tokens=len(messages), output_tokens=max_tokens)
        finally:
            self.at_work -= 1


class Voice(TTSModel):
    """A piece of silence for every word of the text."""

    spec = SPEC
    model_name = "voice"

    def __init__(self, load_error: Exception | None = None) -> None:
        self.load_error = load_error
        self.loads = 0
        self.may_load = threading.Event()
        self.may_load.set()
        self.pieces_made = 0
        self.threads: set[int] = set()

    def load(self) -> None:
        self.may_load.wait(30)
        self.loads += 1
        if self.load_error:
            raise self.load_error

    def synthesize(self, text: str, cancelled: threading.Event, **options: str | None) -> Iterator[Pcm]:
        self.threads.add(threading.get_ident())
        for word in text.split():
            if word == "bad":
                raise ValueError("a word that cannot be spoken")
            self.pieces_made += 1
            yield Pcm(np.zeros(160, np.float32), 16_000)
            if cancelled.wait(0.002):
                return


async def read(stream: AsyncGenerator[StageItem, None]) -> list[StageItem]:
    return [item async for item in stream]
