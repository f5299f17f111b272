"""The three stages as deployed Modal apps."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any, Self

import modal

from orchestrator.modal_errors import typed_errors
from orchestrator.remote_stream import RemoteStreams
from shared.audio.mp3 import to_mp3
from shared.deployment import (
    APPS,
    CLASSES,
    COLD_WITHIN_S,
    MONOLITH_APP,
    MONOLITH_CLASS,
    SERVICES,
    Health,
)
from shared.errors import AttemptLost, SpeechError, Stage
from shared.payloads import Speech
from shared.settings import Settings
from shared.stage_stream import StageStarted, StageStream
from shared.telemetry import current_traceparent
from shared.turn import Failure


class ModalStages:
    """The `Stages` of the deployment that this process belongs to: calls of its services, each
    by its app's name. At the exit of its `async with` block, what was cancelled has been."""

    is_broken = False

    def __init__(self, settings: Settings, *, wake_ahead: bool = False, in_monolith: bool = False) -> None:
        """`wake_ahead`: a call of one service wakes those that come after it in a turn, which may have scaled
        to zero. `in_monolith`: the stages are those of the monolith, whose `health` cannot be asked."""
        self._settings = settings
        self._in_monolith = in_monolith
        self._wake_ahead = wake_ahead
        self._streams = RemoteStreams(settings.stage_start_timeout_s)
        self._services: dict[Stage, Any] = {}
        self._last_call_s: dict[Stage, float] = {}
        self._waking: dict[Stage, asyncio.Task[Health | Failure]] = {}
        self.generate = partial(self._call, Stage.LLM, "generate")
        self.synthesize = partial(self._call, Stage.TTS, "synthesize")

    async def transcribe(
        self, audio: Speech, *, language: str | None = None, word_times: bool = False
    ) -> StageStream:
        """See `Stages`. The audio crosses as MP3."""
        mp3 = await asyncio.to_thread(to_mp3, audio, self._settings.mp3_bitrate_kbps)
        wanted: dict[str, Any] = {"language": language}
        if word_times:  # else a service that was deployed before it knew them would refuse the call
            wanted["word_times"] = True
        async with aclosing(self._call(Stage.ASR, "transcribe", mp3, **wanted)) as items:
            async for item in items:
                yield item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for waking in self._waking.values():
            waking.cancel()
        await self._streams.close()

    async def warm(self) -> list[Health | Failure]:
        """Start a container of every service that has none, all at once, and wait for them."""
        return list(await asyncio.gather(*(self.health(stage) for stage in SERVICES)))

    async def health(self, stage: Stage) -> Health | Failure:
        """The health of a container of the service; one is started where there is none."""
        try:
            with self._service(stage) as service, typed_errors(stage):
                health: Health = await service.health.remote.aio()
                return health
        except SpeechError as error:
            return Failure.of(error)

    async def _call(self, stage: Stage, method: str, *arguments: Any, **keywords: Any) -> StageStream:
        if self._wake_ahead:
            self._wake(*SERVICES[SERVICES.index(stage) + 1 :])
        if traceparent := current_traceparent():
            keywords["traceparent"] = traceparent
        cold = await self._woken(stage)
        with self._service(stage) as service:
            function = getattr(service, method)
            app = MONOLITH_APP if self._in_monolith else None
            stream = self._streams.stream(function, *arguments, stage=stage, app=app, **keywords)
            async with aclosing(stream) as items:
                async for item in items:
                    if cold and isinstance(item, StageStarted):
                        yield item.model_copy(update={"cold": True})
                    else:
                        yield item

    def _wake(self, *stages: Stage) -> None:
        for stage in stages:
            now_s, last_s = time.monotonic(), self._last_call_s.get(stage)
            if last_s is None or now_s - last_s > self._settings.service(stage).scaledown_window_s:
                self._last_call_s[stage] = now_s  # at once, so that no other turn wakes it too
                self._waking[stage] = waking = asyncio.create_task(self.health(stage))
                waking.add_done_callback(partial(self._forget, stage))

    def _forget(self, stage: Stage, _: "asyncio.Task[Health | Failure]") -> None:
        asyncio.get_running_loop().call_later(COLD_WITHIN_S, self._waking.pop, stage, None)

    async def _woken(self, stage: Stage) -> bool:
        """Wait for the stage if it is being woken: a second call would have a second container started.
        Returns whether that is, or has just been, a cold start."""
        if (waking := self._waking.get(stage)) is None:
            return False
        await asyncio.wait({waking})
        woken = waking.result()
        return isinstance(woken, Health) and woken.uptime_s < COLD_WITHIN_S

    @contextmanager
    def _service(self, stage: Stage) -> Iterator[Any]:
        """The service's class, looked up once: that takes two calls of Modal. An error that is not the
        service's own may be about the look-up, so that is repeated then. What was there once and is not found
        may have been stopped and deployed again, so a retry can help."""
        self._last_call_s[stage] = time.monotonic()
        known = stage in self._services
        if not known:
            self._services[stage] = modal.Cls.from_name(*self._named(stage))()
        try:
            yield self._services[stage]
        except SpeechError as error:
            if error.__cause__ is not None:
                self._services.pop(stage, None)
            if known and isinstance(error.__cause__, modal.exception.NotFoundError):
                raise AttemptLost(f"The app {self._named(stage)[0]} is no longer there.", stage) from error
            raise

    def _named(self, stage: Stage) -> tuple[str, str]:
        """The app and its class."""
        return (MONOLITH_APP, MONOLITH_CLASS) if self._in_monolith else (APPS[stage], CLASSES[stage])
