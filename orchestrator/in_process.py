"""The three stages in this process: any engine that the machine can run."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Self, cast

from services.host.asr_host import ASRHost
from services.host.llm_host import LLMHost
from services.host.tts_host import TTSHost
from services.selection import Selection
from shared.engines import ASRModel, LLMModel, TTSModel
from shared.errors import Stage
from shared.payloads import ChatMessage, Speech, Tool
from shared.settings import Settings
from shared.stage_stream import StageStream


class InProcessStages:
    """Owns the selected engines, from the entry of its `async with` block to the exit.

    They begin to load on entry, all at once. A turn that comes before that waits for them.
    """

    def __init__(self, selection: Selection, settings: Settings) -> None:
        self._asr = ASRHost(cast(ASRModel, selection.asr.engine()), settings)
        self._llm = LLMHost(cast(LLMModel, selection.llm.engine()), settings)
        self._tts = TTSHost(cast(TTSModel, selection.tts.engine()), settings)
        self._hosts = (self._asr, self._llm, self._tts)

    async def __aenter__(self) -> Self:
        self._loading = {host.stage: asyncio.create_task(host.load()) for host in self._hosts}
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._loading.values():
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        await asyncio.gather(*(host.close() for host in self._hosts))

    def transcribe(self, audio: Speech, *, language: str | None = None) -> StageStream:
        """See `shared.stages.Stages`."""
        return self._asr.transcribe(audio, language=language)

    def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> StageStream:
        """See `shared.stages.Stages`."""
        return self._llm.generate(messages, tools=tools, max_tokens=max_tokens, temperature=temperature)

    def synthesize(self, text: str, *, voice: str | None = None, language: str | None = None) -> StageStream:
        """See `shared.stages.Stages`."""
        return self._tts.synthesize(text, voice=voice, language=language)

    @property
    def model_names(self) -> dict[Stage, str]:
        """The models, by the names that people use."""
        return {host.stage: host.engine.model_name for host in self._hosts}

    async def loaded(self, on_loaded: Callable[[Stage], None]) -> None:
        """Wait until all engines are loaded; `on_loaded` is called for each.

        Raises SpeechError as soon as one of them cannot be loaded.
        """
        by_task = {task: stage for stage, task in self._loading.items()}
        waiting = set(by_task)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
                on_loaded(by_task[task])
