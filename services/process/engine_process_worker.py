"""The program of an engine's own process, which `EngineProcess` starts: one engine behind a socket.

Every connection is one call: a Call comes in, what it yields goes out, None at the end of it; a SpeechError
goes out instead. Closing the connection stops the work.
"""

import asyncio
import logging
import os
import pickle
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from services.host.asr_host import ASRHost
from services.host.llm_host import LLMHost
from services.host.tts_host import TTSHost
from services.selection import select_model
from shared.engines import RegisteredModel, has_gpu
from shared.errors import SpeechError, Stage, StageFailed
from shared.logs import configure_logging
from shared.settings import settings
from shared.stage_stream import StageStream

logger = logging.getLogger(__name__)

LOAD = "load"
"""Loads the engine, unless it is loaded, and yields its Health."""

VERBS = {Stage.ASR: "transcribe", Stage.LLM: "generate", Stage.TTS: "synthesize_mp3"}
"""The call of each stage, by the name of its host's method; what it yields is a stage stream."""

_LENGTH_BYTES = 4

_HOSTS: dict[Stage, Any] = {Stage.ASR: ASRHost, Stage.LLM: LLMHost, Stage.TTS: TTSHost}


Call = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A call of the engine: LOAD, or the verb of its stage; its arguments, and its keyword arguments."""


def main(stage: str, listening_fd: int) -> None:
    """Serve the selected engine of a stage on this listening socket, until SIGTERM."""
    configure_logging(settings())
    asyncio.run(_serve(select_model(Stage(stage), settings()), listening_fd))


async def _serve(model: RegisteredModel, listening_fd: int) -> None:
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    engine = _ServedEngine(model, ending)
    listening = socket.socket(fileno=listening_fd)
    async with await asyncio.start_unix_server(engine.serve, sock=listening):
        await ending.wait()
        await engine.host.close()


class _ServedEngine:
    """Takes calls of one engine. Sets `ending` when the engine has broken for good."""

    def __init__(self, model: RegisteredModel, ending: asyncio.Event) -> None:
        self._model = model
        self._ending = ending
        self.host = _HOSTS[model.stage](model.engine(), settings(), on_stuck=_end_process)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            with suppress(EOFError, OSError):  # the caller is gone
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            call = await receive(reader)
        except (EOFError, OSError):
            raise
        except Exception as error:
            await send(writer, self._failure(error))
            return
        answering = asyncio.create_task(self._answer(call, writer))
        leaving = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        answering.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, call: Call, writer: asyncio.StreamWriter) -> None:
        try:
            async with aclosing(self._outputs(call)) as outputs:
                async for output in outputs:
                    await send(writer, output)
            await send(writer, None)
        except OSError:
            return  # the caller is gone
        except Exception as error:
            await send(writer, self._failure(error))
            if self.host.engine.is_broken():
                self._ending.set()

    def _failure(self, error: Exception) -> SpeechError:
        if isinstance(error, SpeechError):
            return error
        logger.error("A call of %s failed.", self._model.name, exc_info=error)
        return StageFailed(f"{self._model.name}: {error!r}", self._model.stage)

    def _outputs(self, call: Call) -> AsyncGenerator[object, None]:
        method, arguments, keywords = call
        if method == LOAD:
            return self._health()
        stream: StageStream = getattr(self.host, method)(*arguments, **keywords)
        return stream

    async def _health(self) -> AsyncGenerator[object, None]:
        on_gpu = bool(self._model.spec.gpu) and has_gpu()
        yield await self.host.health(self._model.name, on_gpu=on_gpu)


async def send(writer: asyncio.StreamWriter, item: object) -> None:
    """Send one object, as a pickle behind its length. Raises OSError if the other side is gone.

    Payloads are validated when they are unpickled. Neither side may be a stranger: a pickle can run anything.
    """
    pickled = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
    writer.write(len(pickled).to_bytes(_LENGTH_BYTES, "big") + pickled)
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> Any:
    """The next object. Raises EOFError (IncompleteReadError is one) or OSError if the other side is gone."""
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    return pickle.loads(await reader.readexactly(length))


def _end_process() -> None:
    os._exit(1)
