"""How errors are answered: OpenAI's body, and HTTP's status for each of our types."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from gateway.errors import ErrorBody, Refused
from gateway.metrics import Metrics
from shared.errors import BadAudio, BadRequest, NoSpeech, SpeechError, TooLong

Handler = Callable[[Request, Any], Awaitable[Response]]

RETRY_AFTER_S: Final = 1
"""When a client may try again what failed and may succeed: about as long as one turn takes."""

_CLIENT_LEFT: Final = 499  # nobody sees it, but the metrics


def error_body(error: Refused | SpeechError) -> ErrorBody:
    """The error in OpenAI's form."""
    if isinstance(error, Refused):
        return error.body
    of_client = _status(error) < 500
    kind = "invalid_request_error" if of_client else "server_error"
    return ErrorBody(message=error.message, type=kind, param=None, code=error.kind)


def exception_handlers(metrics: Metrics) -> Mapping[Any, Handler]:
    """Starlette's handlers for all that a route raises. What is sent is counted."""

    def answer(status: int, body: ErrorBody, headers: Mapping[str, str] | None = None) -> Response:
        metrics.error(body["code"] or body["type"])
        return JSONResponse({"error": body}, status_code=status, headers=headers)

    async def refused(request: Request, error: Refused) -> Response:
        return answer(error.status, error.body, error.headers)

    async def failed(request: Request, error: SpeechError) -> Response:
        headers = {"Retry-After": str(RETRY_AFTER_S)} if error.retryable else {}
        return answer(_status(error), error_body(error), headers)

    async def http(request: Request, error: HTTPException) -> Response:
        kind = "server_error" if error.status_code >= 500 else "invalid_request_error"
        body = ErrorBody(
            message=f"{request.method} {request.url.path}: {error.detail}.",
            type=kind,
            param=None,
            code=error.detail.lower().replace(" ", "_"),
        )
        return answer(error.status_code, body, error.headers)

    async def left(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_CLIENT_LEFT)

    async def broken(request: Request, error: Exception) -> Response:
        message = "The server failed. What happened is in its log."
        return answer(500, ErrorBody(message=message, type="server_error", param=None, code="internal_error"))

    return {
        Refused: refused,
        SpeechError: failed,
        HTTPException: http,
        ClientDisconnect: left,
        Exception: broken,
    }


def _status(error: SpeechError) -> int:
    if isinstance(error, TooLong):
        return 413
    if isinstance(error, BadAudio | BadRequest | NoSpeech):
        return 400
    return 503 if error.retryable else 500
