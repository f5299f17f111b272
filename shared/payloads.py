"""What every message is made of: the payload base, encoded audio, chat messages, tools and their calls.

Payloads are frozen. Audio is base64 in JSON and bytes in pickle. Unpickling validates, so a payload
from an older sender is checked like any other; a field that only the newer side knows is ignored, and a
new field must have a default. It is no protection from a hostile sender: a pickle can run anything.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from shared.audio.pcm import Pcm
from shared.errors import BadRequest

MAX_MP3_BYTES = 64 * 2**20
"""No payload may carry more. What a request may carry is a setting, and less."""

MAX_SPEECH_S = 3600.0
"""No speech may be longer. What a request may last is a setting, and less."""

MAX_TEXT_CHARACTERS = 100_000
MAX_MESSAGES = 1_000  # of a conversation
MAX_TOOL_JSON_CHARACTERS = 20_000
MAX_TOOLS = 128


class Payload(BaseModel):
    """Base of all messages: frozen, and validated again when it is unpickled.

    Pickle alone does not validate, and a field that the sender did not know yet would be missing
    (both seen): `__reduce__` goes through `model_validate`, so bounds hold and defaults are filled in.
    Unpickling something invalid raises BadRequest.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        arbitrary_types_allowed=True,  # Pcm
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )

    @classmethod
    def checked(cls, **fields: Any) -> Self:
        """Make one of values that come from outside. Raises BadRequest if they are not valid."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise BadRequest(f"Not a valid {cls.__name__}: {first_problem(error)}.") from None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _restored, (type(self), dict(self.__dict__))


def _restored(payload: type[Payload], fields: dict[str, Any]) -> Payload:
    return payload.checked(**fields)


def first_problem(error: ValidationError) -> str:
    """What is wrong first, with the field's name, and without the value."""
    problem = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]


class Mp3Audio(Payload):
    """Mono speech as MP3: the form in which audio crosses a process boundary.

    `num_samples` is the exact PCM length before encoding, so that decoding can trim to it.
    """

    mp3: bytes = Field(min_length=1, max_length=MAX_MP3_BYTES, repr=False)
    sample_rate_hz: Literal[8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000]
    num_samples: int = Field(ge=1, le=int(MAX_SPEECH_S * 48_000))

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate_hz


Speech = Mp3Audio | Pcm
"""Audio of a turn: Mp3Audio where it crosses a process boundary, Pcm within a process."""


class Word(Payload):
    """A word of a transcript and its time, from the audio's start. Its text includes the space before it and
    the punctuation at it: the texts of all words, joined, are the transcript."""

    text: str = Field(max_length=1_000, repr=False)
    start_s: float = Field(ge=0.0, le=MAX_SPEECH_S)
    end_s: float = Field(ge=0.0, le=MAX_SPEECH_S)


Words = Annotated[tuple[Word, ...], Field(max_length=MAX_TEXT_CHARACTERS)]


def _bounded_schema(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(json.dumps(schema)) > MAX_TOOL_JSON_CHARACTERS:
        raise ValueError(f"a schema has at most {MAX_TOOL_JSON_CHARACTERS:,} characters of JSON")
    return schema


def _json_object(text: str) -> str:
    if not isinstance(from_json(text), dict):
        raise ValueError("arguments are a JSON object")
    return text


ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Tool(Payload):
    """A function that the LLM may ask the caller to run; `parameters` is the JSON schema of its arguments."""

    name: ToolName
    description: str = Field(default="", max_length=4_000)
    parameters: Annotated[dict[str, JsonValue], AfterValidator(_bounded_schema)] = {
        "type": "object",
        "properties": {},
    }
    required: bool = False
    """The reply must call a tool, where the engine can be made to: vLLM and OpenAI's servers can. Of several
    tools all are required, or none."""


class ToolCall(Payload):
    """The LLM asks for a tool to be run; `arguments` is the JSON text of an object."""

    call_id: str = Field(min_length=1, max_length=200)
    name: ToolName
    arguments: Annotated[str, AfterValidator(_json_object)] = Field(
        max_length=MAX_TOOL_JSON_CHARACTERS, repr=False
    )


class TextDelta(Payload):
    """The next part of the reply's text."""

    text: str = Field(max_length=MAX_TEXT_CHARACTERS, repr=False)


LLMDelta = TextDelta | ToolCall
"""What an LLM's reply consists of."""


class TokenUsage(Payload):
    """What a reply took, as the model's own server counts."""

    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    at_limit: bool = False
    """Whether the reply ended since it had as many tokens as it may."""


class ChatMessage(Payload):
    """One message of the conversation. An assistant's may hold tool calls; a tool's is the result of the call
    `tool_call_id`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = Field(default="", max_length=MAX_TEXT_CHARACTERS, repr=False)
    tool_calls: tuple[ToolCall, ...] = Field(default=(), max_length=MAX_TOOLS)
    tool_call_id: str | None = Field(default=None, min_length=1, max_length=200)

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only an assistant's message holds tool calls")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError("a tool's message, and no other, names its tool call")
        return self
