"""Requests as they come in: admitted, counted, bounded before they are read, and given up when their client
leaves."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.access import Access, Caller
from gateway.bounded_json import bounded_json
from gateway.errors import Draining, InvalidRequest, RequestTimedOut, RequestTooLarge
from gateway.health import Readiness
from shared.payloads import first_problem

T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)

Endpoint = Callable[[Request, Caller], Awaitable[Response]]

DRAINED_AFTER_S = 5
"""When a client may try again what a stopping gateway refused: another may have taken over by then."""

MAX_JSON_BYTES = 2**20
"""A conversation that fills the context of the largest models has about half of it."""
_MAX_FORM_FIELDS = 32
_MAX_FIELD_BYTES = 64 * 2**10


class Admitted:
    """An endpoint for those whom Access admits, only so many at once, each until its answer's end; for nobody
    while the gateway takes no new work."""

    def __init__(self, endpoint: Endpoint, access: Access, readiness: Readiness) -> None:
        self._endpoint = endpoint
        self._access = access
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        request = Request(scope, receive, send)
        caller = self._access.admit(request)
        if self._readiness.not_ready:
            raise Draining("The server is stopping. Try again in a moment.", retry_after_s=DRAINED_AFTER_S)
        with self._access.http_request(caller):
            response = await self._endpoint(request, caller)
            await response(scope, receive, send)


async def read_json(
    request: Request, body: type[Body], timeout_s: float, max_bytes: int = MAX_JSON_BYTES
) -> Body:
    """The request's JSON, checked. Raises InvalidRequest with the name of the first field that is wrong."""
    async with _in_time(timeout_s):
        data = b"".join([chunk async for chunk in _bounded(request, max_bytes)])
    try:
        fields = bounded_json(data)
    except ValueError as error:
        raise InvalidRequest(f"The request is no JSON that can be read: {error}.") from None
    try:
        return body.model_validate(fields)
    except ValidationError as error:
        place = error.errors(include_url=False, include_input=False)[0]["loc"]
        param = ".".join(map(str, place)) or None
        raise InvalidRequest(f"The request is not valid: {first_problem(error)}.", param=param) from None


@asynccontextmanager
async def read_form(request: Request, max_bytes: int, timeout_s: float) -> AsyncGenerator[FormData, None]:
    """The request's multipart form, with at most one file, which is on disk above 1 MiB; gone at the end."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidRequest("Send the file as multipart/form-data.")
    try:
        async with _in_time(timeout_s):
            parser = MultiPartParser(
                request.headers,
                _bounded(request, max_bytes),
                max_files=1,
                max_fields=_MAX_FORM_FIELDS,
                max_part_size=_MAX_FIELD_BYTES,
            )
            form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"The form is not valid: {error.message}") from None
    try:
        yield form
    finally:
        await form.close()


async def unless_client_leaves(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Await the work of a request that has been read; cancel it, and raise ClientDisconnect, if its client
    leaves."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _bounded(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    too_large = RequestTooLarge(f"The request has more than {max_bytes:,} bytes. Send a smaller one.")
    with suppress(ValueError):
        if int(request.headers.get("content-length", 0)) > max_bytes:
            raise too_large
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise too_large
        yield chunk


@asynccontextmanager
async def _in_time(timeout_s: float) -> AsyncGenerator[None, None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise RequestTimedOut(f"The request did not come within {timeout_s:g} s. Send it again.") from None
