"""An engine in a process of its own, in whatever environment has its packages."""

import asyncio
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

from services.process.engine_process_worker import LOAD, VERBS, receive, send
from services.process.watched_process import WatchedProcess
from shared.deployment import Health
from shared.engines import RegisteredModel
from shared.errors import EngineLoadFailed, SpeechError, StageFailed
from shared.stage_stream import StageStream

_SOURCES = Path(__file__).parents[2]
_BACKLOG = 100
_END_WITHIN_S = 10.0

_log = logging.getLogger(__name__)


class EngineProcess:
    """Owns the process of one engine, from the entry of its `async with` block to the exit.

    The process ends when this one does, however that happens. One that ends by itself fails the calls in it
    and all later ones: `has_ended` is true then, and a new EngineProcess is needed.
    """

    def __init__(
        self, model: RegisteredModel, *, python: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        """`python` is the interpreter of the engine's environment, by default this one; `environ` are
        variables for its process besides ours."""
        self._model = model
        self._python = python or Path(sys.executable)
        self._environ = {**os.environ, **(environ or {}), "PYTHONPATH": str(_SOURCES)}
        self._environ[f"{model.stage.upper()}_MODEL"] = model.name

    async def __aenter__(self) -> Self:
        """Raises EngineLoadFailed if there is no such interpreter."""
        self._folder = Path(tempfile.mkdtemp(prefix="engine-"))  # no other user can enter it
        try:
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(self._folder / "socket"))
                listening.listen(_BACKLOG)
                self._process = self._started(listening.fileno())
        except OSError as error:
            shutil.rmtree(self._folder)
            raise EngineLoadFailed(
                f"No process can be started for {self._model.name}: {error}", self._model.stage
            ) from None
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.to_thread(self._process.end, _END_WITHIN_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def has_ended(self) -> bool:
        """Whether its process runs no more."""
        return self._process.has_ended

    async def load(self) -> Health:
        """Load the engine, unless it is loaded, and return its health.

        Raises SpeechError: EngineLoadFailed if the process ended, unless the engine itself raises something
        more exact.
        """
        async with aclosing(self._call(EngineLoadFailed, LOAD)) as answers:
            health: Health = await anext(answers)
            return health

    def stream(self, *arguments: Any, **keywords: Any) -> StageStream:
        """The stage stream of the engine's verb. Closing it stops the work.

        Raises SpeechError: StageFailed if the process ended.
        """
        return self._call(StageFailed, VERBS[self._model.stage], *arguments, **keywords)

    def _started(self, listening_fd: int) -> WatchedProcess:
        worker = "from services.process.engine_process_worker import main"
        main = f"main('{self._model.stage}', {listening_fd})"
        command = [str(self._python), "-P", "-c", f"{worker}; {main}"]
        # Its lines are log lines already, of the level that the settings ask for.
        return WatchedProcess(command, self._environ, _to_stderr, pass_fds=[listening_fd])

    async def _call(
        self, lost: type[SpeechError], method: str, *arguments: Any, **keywords: Any
    ) -> AsyncGenerator[Any, None]:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._folder / "socket"))
        except OSError:
            raise await self._lost(lost) from None
        try:
            await send(writer, (method, arguments, keywords))
            while (item := await receive(reader)) is not None:
                if isinstance(item, SpeechError):
                    raise item
                yield item
        except (EOFError, OSError):
            raise await self._lost(lost) from None
        finally:
            writer.close()

    async def _lost(self, kind: type[SpeechError]) -> SpeechError:
        how = await asyncio.to_thread(self._how_it_ended)
        return kind(f"The process of {self._model.name} {how}", self._model.stage)

    def _how_it_ended(self) -> str:
        if not self._process.wait(_END_WITHIN_S):
            return "does not answer."
        how = self._process.how_it_ended
        _log.error("The process of %s %s:\n%s", self._model.name, how, self._process.last_lines)
        return f"{how}, and the log has its last lines."


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
