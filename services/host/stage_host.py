"""An engine behind its stage stream: what the hosts of all three stages have in common."""

import asyncio
import logging
import os
import platform
import subprocess
import time
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar, Generic, TypeVar
from uuid import uuid4

from services.host.worker_thread import WorkerThread
from shared.deployment import Health
from shared.engines import Engine
from shared.errors import BadRequest, EngineLoadFailed, SpeechError, Stage, StageFailed
from shared.settings import Settings
from shared.stage_stream import StageStarted

logger = logging.getLogger(__name__)

LOAD_GRACE_S = 3.0
"""How long the end waits for a load. Most end in this time, and a process whose thread is in the midst of a
library in C++ when Python ends is aborted."""

EngineType = TypeVar("EngineType", bound=Engine)


class StageHost(ABC, Generic[EngineType]):
    """Owns one engine: loads it, runs its work on one thread, and reports what that cost.

    Calls that come before the engine is loaded wait for it. Every error leaves as a SpeechError that
    names the stage. `on_stuck` is called if the engine keeps working on an abandoned call; by default that is
    logged.
    """

    stage: ClassVar[Stage]

    def __init__(
        self, engine: EngineType, settings: Settings, *, on_stuck: Callable[[], None] | None = None
    ) -> None:
        self.engine = engine
        self._settings = settings
        self._worker = WorkerThread(
            f"{self.stage}-engine",
            on_stuck=on_stuck or self._log_stuck,
            stuck_after_s=settings.engine_stuck_after_s,
        )
        self._loading: asyncio.Task[None] | None = None
        self._load_s = self._ready_s = 0.0

    @property
    def uptime_s(self) -> float:
        """How long the engine has been ready."""
        return time.monotonic() - self._ready_s

    async def load(self) -> None:
        """Load the engine, once, however many ask.

        Raises SpeechError: EngineLoadFailed, unless the engine itself raises something more exact.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(), name=f"load {self.stage} engine")
        await asyncio.shield(self._loading)

    async def restored(self) -> None:
        """The container comes out of a snapshot: whatever its age, it is ready from now on."""
        await asyncio.to_thread(self.engine.restored)
        self._ready_s = time.monotonic()

    async def health(self, name: str, *, on_gpu: bool) -> Health:
        """The health of the loaded engine, which is registered under `name`; `on_gpu`: it was given one."""
        await self.load()
        return Health(
            stage=self.stage,
            name=name,
            model=self.engine.model_name,
            device=await asyncio.to_thread(_gpu_name) if on_gpu else "cpu",
            load_s=self._load_s,
            uptime_s=self.uptime_s,
            versions=_versions(self.engine.spec.packages),
        )

    async def close(self) -> None:
        """End the engine and its thread, also in the middle of work. A load, which cannot be interrupted and
        may take a minute, is abandoned after LOAD_GRACE_S."""
        loading = self._loading is not None and not self._loading.done()
        if self._loading is not None and loading:
            self._loading.cancel()
        await asyncio.to_thread(self._end, LOAD_GRACE_S if loading else None)

    def _end(self, wait_s: float | None) -> None:
        self.engine.close()
        self._worker.close(wait_s=wait_s)

    async def _load(self) -> None:
        began_s = time.monotonic()
        with self._speech_errors(EngineLoadFailed):
            await self._worker.run(self.engine.load)
        self._ready_s = time.monotonic()
        self._load_s = self._ready_s - began_s

    async def _start(self) -> StageStarted:
        cold = self._loading is None or not self._loading.done()
        await self.load()
        return StageStarted(attempt_id=uuid4().hex, model=self.engine.model_name, cold=cold)

    def _language(self, language: str | None) -> str | None:
        """The primary tag of a requested language. Raises BadRequest if the engine lacks it."""
        if language is None:
            return None
        primary = language.partition("-")[0].lower()
        self._refuse_unless_offered("language", primary, self.engine.languages)
        return primary

    def _refuse_unless_offered(self, what: str, requested: str, offered: Sequence[str]) -> None:
        if requested not in offered:
            has = f"It has: {', '.join(offered)}." if offered else "It has only its own."
            raise BadRequest(f"{self.engine.model_name} has no {what} '{requested}'. {has}", self.stage)

    @contextmanager
    def _speech_errors(self, kind: type[SpeechError] = StageFailed) -> Iterator[None]:
        try:
            yield
        except SpeechError as error:
            error.stage = self.stage
            raise
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise kind(f"{self.engine.model_name}: {reason}", self.stage) from error

    def _log_stuck(self) -> None:
        logger.error(
            "%s keeps working on an abandoned call, and all later calls wait for it.", self.engine.model_name
        )


def end_process() -> None:
    """For `on_stuck`, where another process takes this one's place: its engine would block every queued call.
    Other calls in flight fail and are retried there."""
    logger.error("The engine is stuck in a cancelled call: ending its process.")
    os._exit(1)


class Stopwatch:
    """Time worked so far, in microseconds."""

    def __init__(self) -> None:
        self._start_ns = time.perf_counter_ns()

    @property
    def us(self) -> int:
        """Since it was made, without the pauses."""
        return (time.perf_counter_ns() - self._start_ns) // 1000

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A pause, for the length of the block."""
        paused_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            self._start_ns += time.perf_counter_ns() - paused_ns


def _gpu_name() -> str:
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        names = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "no GPU found"
    return ", ".join(names.split("\n")).strip(", ")


def _versions(packages: Sequence[str]) -> dict[str, str]:
    names = [package.split("==")[0].split("[")[0].split("@")[0].strip() for package in packages]
    return {"python": platform.python_version()} | {name: _version(name) for name in names}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
