"""A conversation as chat templates accept it, truncated to a model's context."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from shared.errors import Stage, TooLong
from shared.payloads import ChatMessage

NOTHING_SAID = "(silence)"
"""The user's message before an assistant that speaks first: templates want a question before any answer."""


async def truncate_to_context(
    messages: Sequence[ChatMessage],
    count_tokens: Callable[[Sequence[ChatMessage]], Awaitable[int]],
    max_tokens: int,
) -> Sequence[ChatMessage]:
    """The conversation, well formed, without as many of the oldest turns as exceed `max_tokens`.

    A turn is a user message and all that follows it up to the next one, so that a tool's result stays with
    its call. The system message and the newest turn are kept. Asks `count_tokens` once if all of it fits,
    else a few times.

    Raises TooLong if what must be kept does not fit.
    """
    messages = well_formed(messages)
    if await count_tokens(messages) <= max_tokens:
        return messages
    shorter = _shorter(messages)
    tokens = await count_tokens(shorter[-1])
    if tokens > max_tokens:
        raise TooLong(
            f"Question and system prompt are {tokens} tokens long, and the model has room for {max_tokens}: "
            "ask something shorter.",
            Stage.LLM,
        )
    first, last = 0, len(shorter) - 1  # the longest that fits is between them, `last` does
    while first < last:
        middle = (first + last) // 2
        if await count_tokens(shorter[middle]) <= max_tokens:
            last = middle
        else:
            first = middle + 1
    return shorter[last]


def well_formed(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The same conversation as the strictest chat templates (Gemma's, Mistral's) and OpenAI accept it.

    One system message, first; then user and assistant in turn, the user first; each tool call directly
    followed by its result. Calls without a result and results without a call are dropped.
    """
    system = [message for message in messages if message.role == "system"]
    others = _with_answered_calls([message for message in messages if message.role != "system"])
    merged = _merged([*system, *others])
    first = len(system[:1])
    if len(merged) > first and merged[first].role == "assistant":
        merged.insert(first, ChatMessage(role="user", content=NOTHING_SAID))
    return merged


def _with_answered_calls(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    kept: list[ChatMessage] = []
    for index, message in enumerate(messages):
        if message.role == "tool":
            continue  # it follows its call
        results = _results(messages[index:]) if message.tool_calls else {}
        calls = tuple(call for call in message.tool_calls if call.call_id in results)
        if calls or message.content or not message.tool_calls:
            kept.append(message.model_copy(update={"tool_calls": calls}))
            kept += [results[call.call_id] for call in calls]
    return kept


def _results(messages: Sequence[ChatMessage]) -> dict[str, ChatMessage]:
    """The first result of each call."""
    return {message.tool_call_id: message for message in reversed(messages) if message.tool_call_id}


def _merged(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Neighbours of one role as one message; tool results stay apart, and so do calls."""
    merged: list[ChatMessage] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last and last.role == message.role != "tool" and not last.tool_calls:
            content = "\n".join(filter(None, (last.content, message.content)))
            merged[-1] = message.model_copy(update={"content": content})
        else:
            merged.append(message)
    return merged


def _shorter(messages: Sequence[ChatMessage]) -> list[list[ChatMessage]]:
    """What can be left of a well-formed conversation, from the longest to the shortest."""
    system = [message for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    turns = [index for index, message in enumerate(others) if message.role == "user"] or [0]
    return [system + others[turn:] for turn in turns]


def utf8_length(messages: Sequence[ChatMessage]) -> int:
    """Bytes of UTF-8 of all that a model reads of them; a tokenizer that falls back to bytes makes no more
    tokens than that."""
    return sum(
        len(message.content.encode())
        + sum(len(f"{call.name}{call.arguments}{call.call_id}".encode()) for call in message.tool_calls)
        for message in messages
    )
