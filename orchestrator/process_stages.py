"""The three stages beside this process, each engine in a process and an environment of its own."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

from services.process.engine_process import EngineProcess
from shared.deployment import Health
from shared.payloads import ChatMessage, Speech, Tool
from shared.stage_stream import StageStream
from shared.turn import Failure


class ProcessStages:
    """Owns the engines' processes, from the entry of its `async with` block to the exit."""

    def __init__(self, asr: EngineProcess, llm: EngineProcess, tts: EngineProcess) -> None:
        self._asr, self._llm, self._tts = asr, llm, tts
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for process in self._processes:
            await self._exit.enter_async_context(process)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._exit.aclose()

    @property
    def is_broken(self) -> bool:
        """Whether one of the processes runs no more."""
        return any(process.has_ended for process in self._processes)

    async def warm(self) -> list[Health | Failure]:
        """Load the engines, where that has not happened: first the LLM, then the others at once. A server
        of language models measures what is free on the GPU when it starts, so nobody else may be
        claiming it then.

        Raises SpeechError if one cannot be loaded.
        """
        llm = await self._llm.load()
        asr, tts = await asyncio.gather(self._asr.load(), self._tts.load())
        return [asr, llm, tts]

    def transcribe(self, audio: Speech, *, language: str | None = None) -> StageStream:
        """See `shared.stages.Stages`."""
        return self._asr.stream(audio, language=language)

    def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> StageStream:
        """See `shared.stages.Stages`."""
        return self._llm.stream(list(messages), tools=tools, max_tokens=max_tokens, temperature=temperature)

    def synthesize(self, text: str, *, voice: str | None = None, language: str | None = None) -> StageStream:
        """See `shared.stages.Stages`."""
        return self._tts.stream(text, voice=voice, language=language)

    @property
    def _processes(self) -> tuple[EngineProcess, ...]:
        return self._asr, self._llm, self._tts
