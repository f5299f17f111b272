"""The protocol's vocabulary is `openai.types.realtime`: client events are validated, server events built."""

from typing import Annotated, Any, TypeVar, Union, get_args
from uuid import uuid4

import openai.types.realtime
from openai.types.realtime import (
    ConversationItem,
    RealtimeClientEvent,
    RealtimeErrorEvent,
    RealtimeResponseCreateParams,
    ResponseCreateEvent,
)
from openai.types.realtime.realtime_error import RealtimeError
from openai.types.realtime.response_item_reference import ResponseItemReference
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from gateway.bounded_json import bounded_json
from shared.payloads import first_problem

Event = TypeVar("Event", bound=BaseModel)


class ResponseParams(RealtimeResponseCreateParams):
    """What a response is to be. Its input may name items of the conversation, which the type leaves out."""

    input: list[ResponseItemReference | ConversationItem] | None = None  # type: ignore[assignment]


class ResponseCreate(ResponseCreateEvent):
    """`response.create`, with such parameters."""

    response: ResponseParams | None = None


_KINDS = [one for one in get_args(get_args(RealtimeClientEvent)[0]) if one is not ResponseCreateEvent]
_ANY_EVENT: Any = Annotated[Union[(*_KINDS, ResponseCreate)], Field(discriminator="type")]
_CLIENT_EVENTS: TypeAdapter[Any] = TypeAdapter(_ANY_EVENT)


def build_types() -> None:
    """Build what the library would build when a first event needs it, in the middle of a conversation."""
    for one in vars(openai.types.realtime).values():
        if isinstance(one, type) and issubclass(one, BaseModel):
            one.model_rebuild()


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
        event: RealtimeClientEvent = _CLIENT_EVENTS.validate_python(fields)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        code = "missing_required_parameter" if problem["type"] == "missing" else "invalid_value"
        param = ".".join(str(part) for part in problem["loc"][1:]) or "type"
        raise ProtocolError(first_problem(error)[:500], code, param=param, event_id=event_id) from None
    return event


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
