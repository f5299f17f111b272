"""/v1/chat/completions: a conversation is answered by the LLM stage, as a whole or while it is written."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from openai.types.chat.chat_completion_chunk import (
    ChoiceDelta,
    ChoiceDeltaToolCall,
    ChoiceDeltaToolCallFunction,
)
from openai.types.chat.chat_completion_message_function_tool_call import (
    ChatCompletionMessageFunctionToolCall,
    Function,
)
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.access import Caller
from gateway.backend import Backend
from gateway.metrics import Metrics
from gateway.rest.chat_request import DEFAULT_TEMPERATURE, ChatRequest
from gateway.rest.requests import read_json, unless_client_leaves
from gateway.rest.stage_calls import outputs
from gateway.rest.streaming import EVENT_STREAM, event, events, run_ahead, streamed
from gateway.usage import text_tokens
from shared.errors import Stage
from shared.payloads import ChatMessage, LLMDelta, TextDelta, TokenUsage, ToolCall
from shared.settings import Settings
from shared.stage_stream import LLMOutput, StageFinished

FinishReason = Literal["stop", "length", "tool_calls"]

DONE = b"data: [DONE]\n\n"


@dataclass
class _Reply:
    """A reply while it comes, and what it is called."""

    model: str
    messages: list[ChatMessage]
    texts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    cut: bool = False
    """Whether it was ended since it was as long as it may be."""
    tokens: TokenUsage | None = None
    """As the LLM's server counts them."""
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def finished(self, item: StageFinished) -> None:
        """The stage has written all of it."""
        self.tokens = item.tokens
        self.cut |= item.tokens is not None and item.tokens.at_limit

    @property
    def finish_reason(self) -> FinishReason:
        if self.cut:
            return "length"
        return "tool_calls" if self.calls else "stop"

    @property
    def usage(self) -> CompletionUsage:
        arguments = [text for call in self.calls for text in (call.name, call.arguments)]
        prompt = text_tokens(message.content for message in self.messages)
        completion = text_tokens([*self.texts, *arguments])
        if self.tokens:
            prompt, completion = self.tokens.input_tokens, self.tokens.output_tokens
        return CompletionUsage(
            prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion
        )


class ChatEndpoint:
    """Answers the requests."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics

    async def __call__(self, request: Request, caller: Caller) -> Response:
        """One request."""
        settings = self._backend.settings
        asked = await read_json(request, ChatRequest, settings.upload_timeout_s)
        messages = [message.to_stage() for message in asked.messages]
        reply = _Reply(self._backend.model_names[Stage.LLM], messages)
        deltas = _noted(self._deltas(asked, reply), reply, settings)
        if asked.stream:
            chunks = events(_chunks(deltas, reply, asked), self._metrics)
            return await streamed(request, chunks, EVENT_STREAM, settings.slow_reader_timeout_s)
        await unless_client_leaves(request.receive, _read(deltas))
        return JSONResponse(_completion(reply).model_dump(exclude_none=True, mode="json"))

    def _deltas(self, asked: ChatRequest, reply: _Reply) -> AsyncGenerator[LLMOutput, None]:
        settings = self._backend.settings
        stream = self._backend.stages.generate(
            reply.messages,
            tools=asked.offered_tools(),
            max_tokens=asked.limit(settings),
            temperature=DEFAULT_TEMPERATURE if asked.temperature is None else asked.temperature,
        )
        return run_ahead(outputs(Stage.LLM, stream, LLMOutput, settings, self._metrics, reply.finished))


async def _noted(
    deltas: AsyncGenerator[LLMOutput, None], reply: _Reply, settings: Settings
) -> AsyncGenerator[LLMDelta, None]:
    """The same deltas, which the reply keeps; no more than its bound."""
    characters = 0
    async with aclosing(deltas):
        async for output in deltas:
            delta = output.delta
            if isinstance(delta, TextDelta):
                reply.texts.append(delta.text)
                characters += len(delta.text)
            else:
                reply.calls.append(delta)
            yield delta
            if characters >= settings.max_reply_characters:
                reply.cut = True
                return


async def _read(deltas: AsyncGenerator[LLMDelta, None]) -> None:
    async with aclosing(deltas):
        async for _ in deltas:
            pass


def _completion(reply: _Reply) -> ChatCompletion:
    calls = [
        ChatCompletionMessageFunctionToolCall(
            id=call.call_id, type="function", function=Function(name=call.name, arguments=call.arguments)
        )
        for call in reply.calls
    ]
    message = ChatCompletionMessage(
        role="assistant", content="".join(reply.texts) or None, tool_calls=calls or None
    )
    return ChatCompletion(
        id=reply.id,
        object="chat.completion",
        created=reply.created,
        model=reply.model,
        choices=[Choice(index=0, message=message, finish_reason=reply.finish_reason)],
        usage=reply.usage,
    )


async def _chunks(
    deltas: AsyncGenerator[LLMDelta, None], reply: _Reply, asked: ChatRequest
) -> AsyncGenerator[bytes, None]:
    role: Literal["assistant"] | None = "assistant"
    async with aclosing(deltas):
        async for delta in deltas:
            if isinstance(delta, TextDelta):
                yield _chunk(reply, ChoiceDelta(role=role, content=delta.text))
            else:
                yield _chunk(reply, ChoiceDelta(role=role, tool_calls=[_called(delta, len(reply.calls) - 1)]))
            role = None
    yield _chunk(reply, ChoiceDelta(role=role), reply.finish_reason)
    if asked.stream_options and asked.stream_options.include_usage:
        yield event(_chunk_of(reply, [], reply.usage))
    yield DONE


def _called(call: ToolCall, index: int) -> ChoiceDeltaToolCall:
    function = ChoiceDeltaToolCallFunction(name=call.name, arguments=call.arguments)
    return ChoiceDeltaToolCall(index=index, id=call.call_id, type="function", function=function)


def _chunk(reply: _Reply, delta: ChoiceDelta, finish_reason: FinishReason | None = None) -> bytes:
    return event(_chunk_of(reply, [ChunkChoice(index=0, delta=delta, finish_reason=finish_reason)]))


def _chunk_of(
    reply: _Reply, choices: list[ChunkChoice], usage: CompletionUsage | None = None
) -> ChatCompletionChunk:
    return ChatCompletionChunk(
        id=reply.id,
        object="chat.completion.chunk",
        created=reply.created,
        model=reply.model,
        choices=choices,
        usage=usage,
    )
