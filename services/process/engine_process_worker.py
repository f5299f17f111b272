"""The program of an engine's own process, which `EngineProcess` starts: one engine behind a socket.

Every connection is one call: a Call comes in, what it yields goes out, None at the end of it; a SpeechError
goes out instead. Closing the connection stops the work.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from services.host.engine_health import health_of
from services.host.stage_host import ASRHost, LLMHost, TTSHost
from services.process.pickled_stream import receive, send
from services.selection import select_model
from shared.engines import RegisteredModel, has_gpu
from shared.errors import SpeechError, Stage, StageFailed
from shared.logs import configure_logging
from shared.settings import settings

LOAD = "load"
"""Loads the engine, if nobody has yet, and yields its Health."""

VERBS = {Stage.ASR: "transcribe", Stage.LLM: "generate", Stage.TTS: "synthesize_mp3"}
"""The call of each stage, by the name of its host's method; what it yields is a stage stream."""

_HOSTS: dict[Stage, Any] = {Stage.ASR: ASRHost, Stage.LLM: LLMHost, Stage.TTS: TTSHost}


@dataclass(frozen=True)
class Call:
    """What is asked of the engine: LOAD, or the verb of its stage."""

    method: str
    arguments: tuple[Any, ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()


def main(stage: str, listening_fd: int) -> None:
    """Serve the selected engine of a stage on this listening socket, until told to end by SIGTERM."""
    configure_logging(settings())
    asyncio.run(_serve(select_model(Stage(stage), settings()), listening_fd))


async def _serve(model: RegisteredModel, listening_fd: int) -> None:
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    engine = _ServedEngine(model, ending)
    listening = socket.socket(fileno=listening_fd)
    async with await asyncio.start_unix_server(engine.serve, sock=listening):
        await ending.wait()
        await engine.close()


class _ServedEngine:
    """Takes calls of one engine. Sets `ending` when the engine has broken for good."""

    def __init__(self, model: RegisteredModel, ending: asyncio.Event) -> None:
        self._model = model
        self._ending = ending
        self._host = _HOSTS[model.stage](model.engine(), settings(), on_stuck=_end_process)
        self._ready_s = self._load_s = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with suppress(EOFError, OSError):  # the caller is gone
            answering = asyncio.ensure_future(self._answer(await receive(reader), writer))
            leaving = asyncio.ensure_future(reader.read(1))
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            answering.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
        writer.close()

    async def close(self) -> None:
        """End the engine and its processes."""
        await self._host.close()

    async def _answer(self, call: Call, writer: asyncio.StreamWriter) -> None:
        try:
            async with aclosing(self._outputs(call)) as outputs:
                async for output in outputs:
                    await send(writer, output)
            await send(writer, None)
        except SpeechError as error:
            await send(writer, _without_causes(error))
            if self._host.engine.is_broken():
                self._ending.set()

    async def _outputs(self, call: Call) -> AsyncGenerator[object, None]:
        if call.method == LOAD:
            yield await self._loaded()
            return
        if call.method != VERBS[self._model.stage]:
            raise StageFailed(f"The engine's process knows no {call.method}.", self._model.stage)
        verb = getattr(self._host, call.method)
        async with aclosing(verb(*call.arguments, **dict(call.keywords))) as items:
            async for item in items:
                yield item

    async def _loaded(self) -> object:
        began_s = time.monotonic()
        await self._host.load()
        if not self._ready_s:
            self._ready_s = time.monotonic()
            self._load_s = self._ready_s - began_s
        return await asyncio.to_thread(
            health_of,
            self._model,
            self._host.engine,
            on_gpu=bool(self._model.spec.gpu) and has_gpu(),
            load_s=self._load_s,
            uptime_s=time.monotonic() - self._ready_s,
        )


def _without_causes(error: SpeechError) -> SpeechError:
    """The error as it can be pickled anywhere: the library that raised its cause is installed only here."""
    return type(error)(error.message, error.stage)


def _end_process() -> None:
    os._exit(1)
