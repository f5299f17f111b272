"""Cutting a conversation to what a model can take."""

from collections.abc import Awaitable, Callable, Sequence

from shared.errors import Stage, TooLong
from shared.payloads import ChatMessage


async def fitted(
    messages: Sequence[ChatMessage],
    count_tokens: Callable[[Sequence[ChatMessage]], Awaitable[int]],
    max_tokens: int,
) -> Sequence[ChatMessage]:
    """The messages without as many of the oldest turns as it takes to be at most `max_tokens` long.

    System messages and the newest user message stay. What is left begins with a user message, because some
    chat templates take nothing else. Asks `count_tokens` once if all of it fits, else a few times.

    Raises TooLong if what must stay does not fit.
    """
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


def _shorter(messages: Sequence[ChatMessage]) -> list[list[ChatMessage]]:
    """What can be left of the conversation, from the longest to the shortest."""
    system = [message for message in messages if message.role == "system"]
    spoken = [message for message in messages if message.role != "system"]
    turns = [index for index, message in enumerate(spoken) if message.role == "user"] or [0]
    return [system + spoken[turn:] for turn in turns]


def utf8_length(messages: Sequence[ChatMessage]) -> int:
    """How many bytes of UTF-8 their contents are; a tokenizer that falls back to bytes makes no more tokens
    of them than that."""
    return sum(len(message.content.encode()) for message in messages)
