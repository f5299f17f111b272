"""The three stages beside this process, each engine in a process and an environment of its own."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Self

from orchestrator.stages import Stages
from services.process.engine_process import EngineProcess
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.deployment import Health
from shared.payloads import ChatMessage, Mp3Audio, Speech
from shared.settings import Settings
from shared.stage_stream import StageStream


class ProcessStages:
    """Owns the engines' processes, from the entry of its `async with` block to the exit."""

    def __init__(
        self, asr: EngineProcess, llm: EngineProcess, tts: EngineProcess, settings: Settings
    ) -> None:
        self._asr, self._llm, self._tts = asr, llm, tts
        self._settings = settings
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for process in self._processes:
            await self._exit.enter_async_context(process)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    @property
    def stages(self) -> Stages:
        """The stages, for a Pipeline."""
        return Stages(asr=self, llm=self, tts=self)

    @property
    def have_ended(self) -> bool:
        """Whether one of the processes runs no more."""
        return any(process.has_ended for process in self._processes)

    async def load(self) -> list[Health]:
        """Load the engines, where that has not happened: first the LLM, then the others at once. A server
        of language models measures what is free on the GPU when it starts, so nobody else may be
        claiming it then.

        Raises SpeechError if one cannot be loaded.
        """
        llm = await self._llm.load()
        asr, tts = await asyncio.gather(self._asr.load(), self._tts.load())
        return [asr, llm, tts]

    async def transcribe(self, audio: Speech) -> StageStream:
        """See `orchestrator.stages.ASRStage`."""
        async with aclosing(self._asr.stream(await self._as_mp3(audio))) as items:
            async for item in items:
                yield item

    def generate(
        self, messages: Sequence[ChatMessage], *, max_tokens: int, temperature: float
    ) -> StageStream:
        """See `orchestrator.stages.LLMStage`."""
        return self._llm.stream(list(messages), max_tokens=max_tokens, temperature=temperature)

    def synthesize(self, text: str) -> StageStream:
        """See `orchestrator.stages.TTSStage`."""
        return self._tts.stream(text)

    @property
    def _processes(self) -> tuple[EngineProcess, ...]:
        return self._asr, self._llm, self._tts

    async def _as_mp3(self, audio: Speech) -> Mp3Audio:
        if not isinstance(audio, Pcm):
            return audio
        return await asyncio.to_thread(encode_mp3, audio, self._settings.mp3_bitrate_kbps)
