"""The three stages beside this process, each engine in its own process and environment."""

import asyncio
from contextlib import AsyncExitStack
from typing import Self

from services.process.engine_process import EngineProcess
from shared.deployment import Health
from shared.turn import Failure


class ProcessStages:
    """The `Stages` of three engines' processes, which it owns from the entry of its
    `async with` block to the exit."""

    def __init__(self, asr: EngineProcess, llm: EngineProcess, tts: EngineProcess) -> None:
        self._asr, self._llm, self._tts = self._processes = asr, llm, tts
        self._exit = AsyncExitStack()
        self.transcribe, self.generate, self.synthesize = asr.stream, llm.stream, tts.stream

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
        """Load the engines, unless they are loaded: first the LLM, then the others at once. A server of
        language models measures what is free on the GPU when it starts, so nobody else may be claiming it.

        Raises SpeechError if one cannot be loaded.
        """
        llm = await self._llm.load()
        asr, tts = await asyncio.gather(self._asr.load(), self._tts.load())
        return [asr, llm, tts]
