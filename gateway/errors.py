"""What the gateway refuses, and how any error looks in OpenAI's form."""

from math import ceil
from typing import ClassVar, TypedDict


class ErrorBody(TypedDict):
    """OpenAI's error, as REST sends it under the key "error" and Realtime in its event."""

    message: str
    type: str
    param: str | None
    code: str | None


class Refused(Exception):
    """Base of what the gateway refuses by itself, before anything is done; the message says what to do.

    `status` is HTTP's; `param` names the field that is wrong; `retry_after_s` says when the same request can
    succeed, None where it cannot.
    """

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    code: ClassVar[str | None] = None

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> ErrorBody:
        """The refusal in OpenAI's form."""
        return ErrorBody(message=self.message, type=self.type, param=self.param, code=self.code)

    @property
    def headers(self) -> dict[str, str]:
        """What an HTTP answer says of it besides."""
        return {} if self.retry_after_s is None else {"Retry-After": str(ceil(self.retry_after_s))}


class InvalidKey(Refused):
    """No key, or none that is known, or a client secret that has expired."""

    status = 401
    code = "invalid_api_key"


class OriginRefused(Refused):
    """A web page of another origin asks."""

    status = 403
    code = "origin_not_allowed"


class NotForClientSecrets(Refused):
    """A client secret opens Realtime sessions and nothing else."""

    status = 403
    code = "client_secret_not_allowed"


class RateLimited(Refused):
    """The key has made too many requests in this minute."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class TooManySessions(Refused):
    """The key has as many sessions as it may have."""

    status = 429
    type = "rate_limit_error"
    code = "session_limit_reached"


class TooManyRequests(Refused):
    """The key has as many requests under way as it may have."""

    status = 429
    type = "rate_limit_error"
    code = "request_limit_reached"


class Draining(Refused):
    """The gateway stops: it ends what is under way and takes no more."""

    status = 503
    type = "server_error"
    code = "server_stopping"

    @property
    def headers(self) -> dict[str, str]:
        """The connection is closed, so that the next request can reach another gateway behind the address."""
        return {**super().headers, "Connection": "close"}


class InvalidRequest(Refused):
    """The request is not what the API takes; `param` says where."""

    code = "invalid_request"


class RequestTooLarge(Refused):
    """The request's body has more bytes than it may."""

    status = 413
    code = "request_too_large"


class RequestTimedOut(Refused):
    """The request's body did not come in time."""

    status = 408
    code = "request_timed_out"
