"""Cutting a conversation to a model's context."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.llm.conversation import fitted
from shared.errors import Stage, TooLong
from shared.payloads import ChatMessage

SYSTEM = ChatMessage(role="system", content="s" * 10)

conversations = st.lists(
    st.builds(
        ChatMessage,
        role=st.sampled_from(["system", "user", "assistant"]),
        content=st.integers(0, 30).map(lambda length: "x" * length),
    ),
    max_size=20,
)


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


def assistant(text: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=text)


def length(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content) for message in messages)


def cut(messages: Sequence[ChatMessage], limit: int) -> Sequence[ChatMessage]:
    async def count(some: Sequence[ChatMessage]) -> int:
        return length(some)

    return asyncio.run(fitted(messages, count, limit))


def test_a_conversation_that_fits_stays_as_it_is() -> None:
    messages = [assistant("hello"), SYSTEM, user("hi")]
    assert cut(messages, length(messages)) == messages


def test_the_oldest_turn_goes_first_and_whole() -> None:
    messages = [SYSTEM, user("aaaaa"), assistant("bbbbb"), user("ccccc"), assistant("ddddd"), user("eeeee")]
    assert cut(messages, 34) == [SYSTEM, *messages[3:]]
    assert cut(messages, 25) == [SYSTEM, *messages[3:]]
    assert cut(messages, 24) == [SYSTEM, messages[5]]


def test_what_was_said_before_the_first_user_message_goes_before_it() -> None:
    messages = [assistant("welcome"), user("aaaaa"), assistant("bbbbb")]
    assert cut(messages, 16) == messages[1:]


def test_a_question_that_does_not_fit_is_refused_with_its_length() -> None:
    with pytest.raises(TooLong, match=r"15 tokens long.*room for 14") as raised:
        cut([SYSTEM, user("aaaaa"), assistant("bbbbb"), user("ccccc")], 14)
    assert raised.value.stage is Stage.LLM


@given(conversations, st.integers(0, 200))
def test_as_much_of_the_end_stays_as_fits(messages: list[ChatMessage], limit: int) -> None:
    system = [message for message in messages if message.role == "system"]
    spoken = [message for message in messages if message.role != "system"]
    beginnings = [index for index, message in enumerate(spoken) if message.role == "user"] or [0]
    possible = [messages, *(system + spoken[beginning:] for beginning in beginnings)]
    fitting = [some for some in possible if length(some) <= limit]
    if not fitting:
        with pytest.raises(TooLong):
            cut(messages, limit)
    else:
        assert list(cut(messages, limit)) == fitting[0]


@given(conversations, st.integers(0, 200))
def test_it_counts_only_a_few_times(messages: list[ChatMessage], limit: int) -> None:
    counted = 0

    async def count(some: Sequence[ChatMessage]) -> int:
        nonlocal counted
        counted += 1
        return length(some)

    with contextlib.suppress(TooLong):
        asyncio.run(fitted(messages, count, limit))
    assert counted <= 2 + max(1, len(messages)).bit_length()
