"""Engines that take the times of `bench.simulated_stages` and do nothing, for a process or a deployment.

This file is copied into the services/ of the project that is deployed, so it needs nothing of bench/.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Sequence

import numpy as np

from shared.audio.pcm import Pcm
from shared.engines import ASRModel, EngineSpec, LLMModel, TTSModel
from shared.payloads import ChatMessage, LLMDelta, TextDelta, Tool

ASR_S = 0.10
FIRST_TOKEN_S = 0.15
TOKENS_PER_S = 60
TTS_FIXED_S = 0.25
TTS_REAL_TIME_FACTOR = 0.25
SPEECH_S_PER_CHARACTER = 0.06
SAMPLE_RATE_HZ = 24_000
SPEC = EngineSpec(summary="Takes a set time.", licence="MIT", concurrent_inputs=10)
REPLY = (
    "The morning train to the coast leaves at eight from platform four. "
    "You should reach the harbour shortly before noon if nothing goes wrong. "
    "The ferry to the islands sails every hour until seven this evening."
)


class TimedASR(ASRModel):
    """Hears the same words always."""

    spec = SPEC
    model_name = "timed ears"

    def load(self) -> None:
        """Nothing to load."""

    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        """Takes its time."""
        time.sleep(ASR_S)
        return "how do i get to the islands"


class TimedLLM(LLMModel):
    """Writes the same reply always, a word a token, each at its time."""

    spec = SPEC
    model_name = "timed mind"

    def load(self) -> None:
        """Nothing to load."""

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[LLMDelta, None]:
        """The reply; late timers do not add up."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number, word in enumerate(REPLY.split()):
            await asyncio.sleep(began_s + FIRST_TOKEN_S + number / TOKENS_PER_S - loop.time())
            yield TextDelta(text=f" {word}" if number else word)


class TimedTTS(TTSModel):
    """Speaks noise, a chunk in one piece."""

    spec = SPEC
    model_name = "timed voice"
    sample_rate_hz = SAMPLE_RATE_HZ

    def load(self) -> None:
        """Nothing to load."""

    def synthesize(
        self,
        text: str,
        cancelled: threading.Event,
        *,
        voice: str | None = None,
        language: str | None = None,
    ) -> Iterator[Pcm]:
        """As loud as speech, so that the codec has its usual work."""
        duration_s = SPEECH_S_PER_CHARACTER * len(text)
        cancelled.wait(TTS_FIXED_S + TTS_REAL_TIME_FACTOR * duration_s)
        chance = np.random.default_rng(1)
        samples = chance.uniform(-0.1, 0.1, round(duration_s * SAMPLE_RATE_HZ)).astype(np.float32)
        yield Pcm(samples, SAMPLE_RATE_HZ)
