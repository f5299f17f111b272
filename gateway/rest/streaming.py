"""Answers that are sent while they are made: audio, and server-sent events."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import Refused
from gateway.metrics import Metrics
from gateway.rest.answers import error_body
from gateway.rest.requests import unless_client_leaves
from shared.errors import SpeechError

T = TypeVar("T")

EVENT_STREAM: Final = "text/event-stream"

logger = logging.getLogger(__name__)


class StreamedAnswer(Response):
    """Sends what a generator yields, as it comes, and closes the generator at the end, whatever that is.

    One that fails after its start breaks the connection off, so that nobody takes its answer for a whole one;
    so does a client that takes nothing for `timeout_s`.
    """

    def __init__(
        self, first: bytes, chunks: AsyncGenerator[bytes, None], media_type: str, timeout_s: float
    ) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._first = first
        self._chunks = chunks
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it."""
        async with aclosing(self._chunks):
            try:
                await unless_client_leaves(receive, self._send(send))
            except ClientDisconnect:
                pass
            except TimeoutError:
                logger.warning("A client took nothing of its answer for %g s.", self._timeout_s)
            except (SpeechError, Refused) as error:
                logger.warning("An answer broke off: %s", type(error).__name__)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        chunk: bytes | None = self._first
        while chunk is not None:
            async with asyncio.timeout(self._timeout_s):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await anext(self._chunks, None)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def streamed(
    request: Request, chunks: AsyncGenerator[bytes, None], media_type: str, timeout_s: float
) -> StreamedAnswer:
    """The answer, once its first chunk is there: what fails before that is answered with its status."""
    try:
        first = await unless_client_leaves(request.receive, _next(chunks))
    except BaseException:
        await chunks.aclose()
        raise
    return StreamedAnswer(first, chunks, media_type, timeout_s)


async def run_ahead(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same items. Their source does not wait for a slow reader, who would hold an engine that others wait
    for; so it must be bounded by itself."""
    queue: asyncio.Queue[T | None] = asyncio.Queue()

    async def pump() -> None:
        async with aclosing(items):
            async for item in items:
                queue.put_nowait(item)

    pumping = asyncio.create_task(pump())
    pumping.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (item := await queue.get()) is not None:
            yield item
        pumping.result()
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)


def event(content: BaseModel | dict[str, object]) -> bytes:
    """A server-sent event."""
    text = (
        content.model_dump_json(exclude_none=True) if isinstance(content, BaseModel) else json.dumps(content)
    )
    return f"data: {text}\n\n".encode()


async def events(items: AsyncGenerator[bytes, None], metrics: Metrics) -> AsyncGenerator[bytes, None]:
    """The same events; an error in their midst is the last one."""
    any_sent = False
    async with aclosing(items):
        try:
            async for item in items:
                yield item
                any_sent = True
        except (SpeechError, Refused) as error:
            if not any_sent:
                raise
            body = error_body(error)
            metrics.error(body["code"] or body["type"])
            yield event({"error": body})


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)
