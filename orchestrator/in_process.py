"""The three stages in this process: any engine that the machine can run."""

import asyncio
from collections.abc import Callable
from typing import Self, cast

from services.host.asr_host import ASRHost
from services.host.llm_host import LLMHost
from services.host.tts_host import TTSHost
from services.selection import Selection
from shared.engines import ASRModel, LLMModel, TTSModel
from shared.errors import Stage
from shared.settings import Settings


class InProcessStages:
    """The `Stages` of the selected engines, which it owns from the entry of its `async with`
    block to the exit. They begin to load on entry, all at once; a turn that comes earlier waits for them."""

    def __init__(self, selection: Selection, settings: Settings) -> None:
        asr = ASRHost(cast(ASRModel, selection.asr.engine()), settings)
        llm = LLMHost(cast(LLMModel, selection.llm.engine()), settings)
        tts = TTSHost(cast(TTSModel, selection.tts.engine()), settings)
        self._hosts = (asr, llm, tts)
        self.transcribe, self.generate, self.synthesize = asr.transcribe, llm.generate, tts.synthesize

    async def __aenter__(self) -> Self:
        self._loading = {host.stage: asyncio.create_task(host.load()) for host in self._hosts}
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._loading.values():
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        await asyncio.gather(*(host.close() for host in self._hosts))

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
