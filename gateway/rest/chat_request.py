"""What /v1/chat/completions is asked for, as the LLM stage takes it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, JsonValue, field_validator

from gateway.errors import InvalidRequest
from shared.payloads import MAX_MESSAGES, MAX_TEXT_CHARACTERS, MAX_TOOLS, ChatMessage, Tool, ToolCall
from shared.settings import Settings

DEFAULT_TEMPERATURE = 0.7


class TextPart(BaseModel):
    """A part of a message. Images and sounds are refused."""

    type: Literal["text"]
    text: str = Field(max_length=MAX_TEXT_CHARACTERS, repr=False)


class CalledFunction(BaseModel):
    """What a tool call calls."""

    name: str
    arguments: str = Field(default="{}", repr=False)


class AskedToolCall(BaseModel):
    """A tool call of an earlier reply."""

    id: str
    function: CalledFunction


class Message(BaseModel):
    """A message of the conversation."""

    role: Literal["developer", "system", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = Field(default=None, repr=False)
    tool_calls: list[AskedToolCall] = Field(default=[], max_length=MAX_TOOLS)
    tool_call_id: str | None = None

    @field_validator("tool_calls", mode="before")
    @classmethod
    def _none_is_none(cls, value: Any) -> Any:
        return [] if value is None else value

    def to_stage(self) -> ChatMessage:
        """The message as the stage takes it. Raises BadRequest if it does not fit its role."""
        content = self.content or ""
        if isinstance(content, list):
            content = "\n".join(part.text for part in content)
        calls = [
            ToolCall.checked(
                call_id=call.id, name=call.function.name, arguments=call.function.arguments or "{}"
            )
            for call in self.tool_calls
        ]
        return ChatMessage.checked(
            role="system" if self.role == "developer" else self.role,
            content=content,
            tool_calls=tuple(calls),
            tool_call_id=self.tool_call_id if self.role == "tool" else None,
        )


class Function(BaseModel):
    """A function that the LLM may call."""

    name: str
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None


class AskedTool(BaseModel):
    """A tool: there are functions only."""

    type: Literal["function"]
    function: Function

    def to_stage(self) -> Tool:
        """The tool as the stage takes it. Raises BadRequest if a part of it is out of bounds."""
        return Tool.checked(**self.function.model_dump(exclude_none=True))


class NamedFunction(BaseModel):
    """The function of a tool choice."""

    name: str


class NamedTool(BaseModel):
    """A choice of one tool."""

    type: Literal["function"]
    function: NamedFunction


class ResponseFormat(BaseModel):
    """The form of the reply: the LLM stage writes text only."""

    type: Literal["text"]


class StreamOptions(BaseModel):
    """Whether a stream ends with its usage."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """What is asked for. What would change the meaning of the answer and cannot be done is refused; what only
    steers sampling (`top_p`, `seed`, penalties) or OpenAI's service has no effect."""

    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    tools: list[AskedTool] | None = Field(default=None, max_length=MAX_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    n: Literal[1] | None = None
    stop: None = None
    logprobs: Literal[False] | None = None
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] | None = None
    functions: None = None
    web_search_options: None = None

    def limit(self, settings: Settings) -> int:
        """The most tokens that the reply may have, which the settings bound."""
        asked = self.max_completion_tokens or self.max_tokens or settings.max_reply_tokens
        return min(asked, settings.max_reply_tokens)

    def offered_tools(self) -> tuple[Tool, ...]:
        """The tools that the LLM may call. Raises InvalidRequest if the choice is not among them."""
        must_call = self.tool_choice not in (None, "auto")
        tools = tuple(tool.to_stage().model_copy(update={"required": must_call}) for tool in self.tools or ())
        if self.tool_choice == "none":
            return ()
        if isinstance(self.tool_choice, NamedTool):
            name = self.tool_choice.function.name
            tools = tuple(tool for tool in tools if tool.name == name)
            if not tools:
                raise InvalidRequest("The chosen tool is none of the tools.", param="tool_choice")
        return tools
