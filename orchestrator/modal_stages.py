"""The three stages as deployed Modal apps."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

import modal

from orchestrator.modal_errors import typed_errors
from orchestrator.remote_stream import RemoteStreams
from shared.deployment import APPS, CLASSES, COLD_WITHIN_S, Health
from shared.errors import AttemptLost, SpeechError, Stage
from shared.payloads import ChatMessage, Speech, Tool
from shared.settings import Settings
from shared.stage_stream import StageFinished, StageItem, StageStarted, StageStream
from shared.turn import Failure


class ModalStages:
    """Calls the services of the deployment that this process belongs to, each by its app's name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._streams = RemoteStreams(settings.stage_start_timeout_s)
        self._services: dict[Stage, Any] = {}
        self._last_call_s: dict[Stage, float] = {}
        self._waking: dict[Stage, asyncio.Task[Health | Failure]] = {}

    def transcribe(self, audio: Speech, *, language: str | None = None) -> StageStream:
        """See `shared.stages.Stages`."""
        return self._call(Stage.ASR, "transcribe", audio, language=language)

    def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> StageStream:
        """See `shared.stages.Stages`."""
        options = {"tools": tools, "max_tokens": max_tokens, "temperature": temperature}
        return self._call(Stage.LLM, "generate", list(messages), **options)

    def synthesize(self, text: str, *, voice: str | None = None, language: str | None = None) -> StageStream:
        """See `shared.stages.Stages`."""
        return self._call(Stage.TTS, "synthesize", text, voice=voice, language=language)

    async def warm(self) -> list[Health | Failure]:
        """Start a container of every service that has none, all at once, and wait for them."""
        return list(await asyncio.gather(*(self.health(stage) for stage in CLASSES)))

    async def health(self, stage: Stage) -> Health | Failure:
        """What a container of the service says of itself; one is started where there is none."""
        try:
            with self._service(stage) as service:
                health: Health = await service.health.remote.aio()
                return health
        except SpeechError as error:
            return Failure.of(error)

    def wake(self) -> None:
        """Have the LLM and the TTS, where they may have scaled to zero, start while the ASR works."""
        now_s = time.monotonic()
        for stage in (Stage.LLM, Stage.TTS):
            last_s = self._last_call_s.get(stage)
            if last_s is None or now_s - last_s > self._settings.service(stage).scaledown_window_s:
                self._waking[stage] = asyncio.create_task(self.health(stage))

    async def _call(self, stage: Stage, method: str, *arguments: Any, **keywords: Any) -> StageStream:
        cold = await self._awake(stage)
        with self._service(stage) as service:
            function = getattr(service, method)
            items = self._streams.stream(
                function, *arguments, call_id=_call_id, last=StageFinished, **keywords
            )
            async with aclosing(items):
                async for item in items:
                    if cold and isinstance(item, StageStarted):
                        yield item.model_copy(update={"cold": True})
                    else:
                        yield item

    async def _awake(self, stage: Stage) -> bool:
        """Wait for the stage if it is being woken: a second call at its door would have a second container
        started. Returns whether that was a cold start."""
        if stage not in self._waking:
            return False
        waking = self._waking[stage]
        await asyncio.wait({waking})
        self._waking.pop(stage, None)
        woken = waking.result()
        return isinstance(woken, Health) and woken.uptime_s < COLD_WITHIN_S

    @contextmanager
    def _service(self, stage: Stage) -> Iterator[Any]:
        """The service's class, looked up once: that takes two calls of Modal. An error that is not the
        service's own may be about the look-up, so it is made anew. What was there once and is not found may
        have been stopped and deployed again, so trying again can help then."""
        self._last_call_s[stage] = time.monotonic()
        known = stage in self._services
        if not known:
            self._services[stage] = modal.Cls.from_name(APPS[stage], CLASSES[stage])()
        try:
            with typed_errors(stage):
                yield self._services[stage]
        except SpeechError as error:
            if error.__cause__ is not None:
                self._services.pop(stage, None)
            if known and isinstance(error.__cause__, modal.exception.NotFoundError):
                raise AttemptLost(f"The app {APPS[stage]} is there no longer.", stage) from error
            raise


def _call_id(item: StageItem) -> str:
    return item.call_id if isinstance(item, StageStarted) else ""
