"""A client for every server of the OpenAI chat protocol: vLLM, OpenAI's own, Ollama and others."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from services.llm.chat_errors import speech_error
from services.llm.chat_stream import ThoughtFilter, ToolCallAssembler
from shared.errors import BadRequest, Misconfigured, SpeechError, Stage, StageFailed
from shared.payloads import ChatMessage, LLMDelta, TextDelta, TokenUsage, Tool

if TYPE_CHECKING:
    from openai import AsyncStream
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk

OPENAI_CLIENT = "openai==3.54.0"
"""The package of an engine that uses this."""

KEEP_ALIVE_S = 60.0
"""How long an idle connection is kept: as long as people may think between two turns."""

_CONNECT_TIMEOUT_S = 5.0
_CLOSING_TIMEOUT_S = 5.0
_OF_CALLERS_TIMEOUT = 0.8
"""The server gets less time than our caller gives us: a cancelled call would not show that it hangs."""

_OPENAI = re.compile(r"^https://(api\.openai\.com|[\w-]+\.openai\.azure\.com)(/|$)")
"""Servers all of whose models take max_completion_tokens, and some nothing else."""

_REFUSED_PARAMETER = re.compile(r"unsupported (?:parameter|value): '(max_tokens|temperature)'", re.IGNORECASE)
"""How OpenAI's reasoning models refuse what others need."""

_log = logging.getLogger(__name__)


class ChatApi:
    """Streams replies of one model on one server, any number at once, on one event loop.

    It does not retry: the turn does that, as long as nothing has been spoken.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        model: str,
        *,
        server: str,
        timeout_s: float,
        socket: Path | None = None,
        keep_alive_s: float = KEEP_ALIVE_S,
        options: Mapping[str, object] | None = None,
    ) -> None:
        """`server` is its name in messages; `timeout_s` how long our caller waits for the next delta;
        `socket` the Unix socket that it listens on; `keep_alive_s` how long an idle connection is kept;
        `options` are more fields of each request.

        Raises Misconfigured if the base URL is not valid.
        """
        import httpx2
        import openai

        timeout_s *= _OF_CALLERS_TIMEOUT
        limits = httpx2.Limits(keepalive_expiry=keep_alive_s)
        transport = httpx2.AsyncHTTPTransport(uds=str(socket), limits=limits) if socket else None
        self._model = model
        self._server = server
        self._options = options
        self._refused = {"max_tokens"} if _OPENAI.match(base_url) else set()
        # Some servers refuse a field that they do not know; some count without being asked.
        self._asks_usage = socket is not None or _OPENAI.match(base_url) is not None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(limits=limits, transport=transport),
        )
        self._completions = self._client.chat.completions  # imports half of the library

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[LLMDelta | TokenUsage, None]:
        """The reply's text as it is written, then its tool calls, then what it took if the server says so.
        Thoughts are left out.

        Closing the generator closes the connection, upon which a server stops generating.
        Raises SpeechError, also in the middle of the reply.
        """
        self._loop = asyncio.get_running_loop()
        thoughts, tool_calls = ThoughtFilter(), ToolCallAssembler(self._server)
        finish_reason, is_empty, usage = None, True, None
        with self._typed_errors():
            async with await self._begin(messages, tools, max_tokens, temperature) as stream:
                async for chunk in stream:
                    usage = chunk.usage or usage
                    for choice in chunk.choices[:1]:  # a chunk with usage has none
                        for call in choice.delta.tool_calls or ():
                            tool_calls.feed(call)
                        if text := thoughts.feed(choice.delta.content or ""):
                            is_empty = False
                            yield TextDelta(text=text)
                        finish_reason = choice.finish_reason or finish_reason
        if text := thoughts.end():
            is_empty = False
            yield TextDelta(text=text)
        self._check_end(finish_reason, is_empty=is_empty)
        for tool_call in tool_calls.calls():
            yield tool_call
        if tokens := _tokens(usage, at_limit=finish_reason == "length"):
            yield tokens

    async def post(self, url: str, body: object) -> Any:
        """The decoded answer to JSON at another address of the server. Raises SpeechError."""
        import httpx2

        self._loop = asyncio.get_running_loop()
        with self._typed_errors():
            response = await self._client.post(url, cast_to=httpx2.Response, body=body)
            return response.json()

    def close(self) -> None:
        """Close the connections; from any thread, also while replies are in progress."""
        loop, self._loop = self._loop, None
        if loop is None or not loop.is_running():
            return
        closing = asyncio.run_coroutine_threadsafe(self._client.close(), loop)
        if loop is not _running_loop():
            try:
                closing.result(_CLOSING_TIMEOUT_S)
            except TimeoutError:
                _log.warning("The connections to %s are still open: the event loop is blocked", self._server)

    async def _begin(
        self, messages: Sequence[ChatMessage], tools: Sequence[Tool], max_tokens: int, temperature: float
    ) -> "AsyncStream[ChatCompletionChunk]":
        """Send the request; again without what the model refuses, which is then remembered."""
        import openai

        request: dict[str, Any] = {"model": self._model, "messages": as_openai(messages)}
        if tools:
            request["tools"] = tools_as_openai(tools)
            if any(tool.required for tool in tools):
                request["tool_choice"] = "required"
        if self._asks_usage:
            request["stream_options"] = {"include_usage": True}
        while True:
            limit = "max_completion_tokens" if "max_tokens" in self._refused else "max_tokens"
            parameters: dict[str, Any] = {limit: max_tokens, "temperature": temperature}
            sent = {name: value for name, value in parameters.items() if name not in self._refused}
            try:
                stream = await self._completions.create(
                    **request, **sent, stream=True, extra_body=self._options
                )
                return cast("AsyncStream[ChatCompletionChunk]", stream)
            except openai.BadRequestError as error:
                refused = _REFUSED_PARAMETER.search(str(error))
                if refused is None or refused[1] not in sent:
                    raise
                _log.info("%s takes no %s", self._server, refused[1])
                self._refused.add(refused[1])

    def _check_end(self, finish_reason: str | None, *, is_empty: bool) -> None:
        match finish_reason:
            case None:
                raise StageFailed(f"{self._server} broke off in the middle of a reply.", Stage.LLM)
            case "length" if is_empty:
                raise Misconfigured(
                    f"{self._server} reached the reply's token limit before its first word, as reasoning "
                    "models do: raise S2S_MAX_REPLY_TOKENS, or lower the reasoning effort.",
                    Stage.LLM,
                )
            case "length":
                _log.info("%s reached the token limit of a reply", self._server)
            case "content_filter" if is_empty:
                raise BadRequest(f"The content filter of {self._server} let no reply pass.", Stage.LLM)

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except SpeechError:
            raise
        except Exception as error:
            raise speech_error(error, self._server) from error


def _tokens(usage: "CompletionUsage | None", *, at_limit: bool) -> TokenUsage | None:
    """None of what a server sends in its place."""
    counted = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    try:
        return TokenUsage(input_tokens=counted[0], output_tokens=counted[1], at_limit=at_limit)
    except ValidationError:
        return None


def as_openai(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The messages in the protocol's form."""
    return [_message_as_openai(message) for message in messages]


def _message_as_openai(message: ChatMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_call_id:
        fields["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return fields


def tools_as_openai(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The tools in the protocol's form."""
    return [
        {"type": "function", "function": tool.model_dump(mode="json", exclude={"required"})} for tool in tools
    ]


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
