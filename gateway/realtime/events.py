"""The protocol's vocabulary is `openai.types.realtime`: client events are validated, server events built."""

from typing import Annotated, Any, TypeVar, get_args
from uuid import uuid4

from openai.types.realtime import RealtimeClientEvent, RealtimeErrorEvent
from openai.types.realtime.realtime_error import RealtimeError
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from gateway.bounded_json import bounded_json
from shared.payloads import first_problem

Event = TypeVar("Event", bound=BaseModel)

_CLIENT_EVENTS: TypeAdapter[RealtimeClientEvent] = TypeAdapter(
    Annotated[RealtimeClientEvent, Field(discriminator="type")]
)


class ProtocolError(Exception):
    """A client event that cannot be followed; the session lives on. `code` is OpenAI's, where it has one."""

    def __init__(
        self,
        message: str,
        code: str = "invalid_value",
        *,
        param: str | None = None,
        event_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.param, self.event_id = message, code, param, event_id


def client_event(text: str | bytes) -> RealtimeClientEvent:
    """The event in a client's message. Raises ProtocolError, with the event's id where it has one."""
    try:
        fields = bounded_json(text)
    except ValueError as error:
        raise ProtocolError(f"The message is no JSON that can be read: {error}.", "invalid_json") from None
    event_id = fields.get("event_id") if isinstance(fields, dict) else None
    event_id = event_id if isinstance(event_id, str) else None
    try:
        return _CLIENT_EVENTS.validate_python(fields)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        code = "missing_required_parameter" if problem["type"] == "missing" else "invalid_value"
        param = ".".join(str(part) for part in problem["loc"][1:]) or "type"
        raise ProtocolError(first_problem(error)[:500], code, param=param, event_id=event_id) from None


def new_id(kind: str) -> str:
    """An identifier that no other object has: "item_…", 32 characters at most, as clients expect."""
    return f"{kind}_{uuid4().hex[: 31 - len(kind)]}"


def server_event(kind: type[Event], **fields: Any) -> Event:
    """A server event of this kind, validated. What is not given is left out of its JSON."""
    return kind(event_id=new_id("event"), type=get_args(kind.model_fields["type"].annotation)[0], **fields)


def error_event(error: ProtocolError, event_id: str | None) -> RealtimeErrorEvent:
    """The event that reports an error in a client's event."""
    return server_event(
        RealtimeErrorEvent,
        error=RealtimeError(
            type="invalid_request_error",
            message=error.message,
            code=error.code,
            param=error.param,
            event_id=error.event_id or event_id,
        ),
    )
