"""A conversation as chat templates accept it, truncated to a model's context."""

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.llm.conversation import NOTHING_SAID, truncate_to_context, well_formed
from shared.errors import Stage, TooLong
from shared.payloads import ChatMessage, ToolCall

SYSTEM = ChatMessage(role="system", content="s" * 10)


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


def assistant(text: str, *calls: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=text, tool_calls=tuple(map(call, calls)))


def call(call_id: str) -> ToolCall:
    return ToolCall(call_id=call_id, name="weather", arguments="{}")


def result(call_id: str, text: str = "rain") -> ChatMessage:
    return ChatMessage(role="tool", tool_call_id=call_id, content=text)


call_ids = st.sampled_from("abc")
texts = st.integers(0, 30).map(lambda length: "x" * length)
conversations = st.lists(
    st.one_of(
        st.builds(ChatMessage, role=st.sampled_from(["system", "user", "assistant"]), content=texts),
        st.builds(assistant, texts, call_ids),
        st.builds(assistant, texts, call_ids, call_ids),
        st.builds(result, call_ids, texts),
    ),
    max_size=20,
)


def length(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content) for message in messages)


def truncated(messages: Sequence[ChatMessage], limit: int) -> Sequence[ChatMessage]:
    async def count(some: Sequence[ChatMessage]) -> int:
        return length(some)

    return asyncio.run(truncate_to_context(messages, count, limit))


# What templates accept


def test_a_conversation_of_question_and_answer_stays_as_it_is() -> None:
    messages = [SYSTEM, user("hi"), assistant("hello"), user("how are you?")]
    assert truncated(messages, length(messages)) == messages


def test_neighbours_of_one_role_become_one_message() -> None:
    messages = [user("Wait."), user("What time is it?"), assistant("It is"), assistant("noon.")]
    assert well_formed(messages) == [user("Wait.\nWhat time is it?"), assistant("It is\nnoon.")]


def test_system_messages_become_one_at_the_beginning() -> None:
    messages = [user("hi"), ChatMessage(role="system", content="Be short."), assistant("hello"), SYSTEM]
    assert well_formed(messages) == [
        ChatMessage(role="system", content=f"Be short.\n{SYSTEM.content}"),
        user("hi"),
        assistant("hello"),
    ]


def test_an_assistant_that_speaks_first_is_preceded_by_a_silent_user() -> None:
    assert well_formed([SYSTEM, assistant("Welcome!"), user("hi")]) == [
        SYSTEM,
        user(NOTHING_SAID),
        assistant("Welcome!"),
        user("hi"),
    ]


def test_a_result_directly_follows_its_call() -> None:
    messages = [user("Weather?"), assistant("", "a", "b"), result("b"), user("Hurry."), result("a")]
    assert well_formed(messages) == [
        user("Weather?"),
        assistant("", "a", "b"),
        result("a"),
        result("b"),
        user("Hurry."),
    ]


def test_a_call_without_its_result_is_dropped_and_so_is_a_result_without_its_call() -> None:
    messages = [result("z"), user("Weather?"), assistant("", "a"), user("Never mind."), assistant("Ok.", "b")]
    assert well_formed(messages) == [user("Weather?\nNever mind."), assistant("Ok.")]


@given(conversations)
def test_whatever_it_was_it_is_well_formed(messages: list[ChatMessage]) -> None:
    formed = well_formed(messages)
    roles = [message.role for message in formed]
    assert roles.count("system") <= 1
    assert "system" not in roles[1:]
    without_system = [role for role in roles if role != "system"]
    assert without_system[:1] in ([], ["user"])
    for before, after in pairwise(formed):
        assert not before.role == after.role != "tool" or before.tool_calls
    for index, message in enumerate(formed):
        ids = [call.call_id for call in message.tool_calls]
        assert [one.tool_call_id for one in formed[index + 1 :][: len(ids)]] == ids
    assert roles.count("tool") == sum(len(message.tool_calls) for message in formed)
    assert well_formed(formed) == formed


@given(conversations)
def test_no_user_s_and_no_system_s_word_is_lost(messages: list[ChatMessage]) -> None:
    def spoken(some: Sequence[ChatMessage]) -> int:
        return sum(one.content.count("x") for one in some if one.role in {"system", "user"})

    assert spoken(well_formed(messages)) == spoken(messages)


# Truncating


def test_the_oldest_turn_goes_first_and_whole() -> None:
    messages = [SYSTEM, user("aaaaa"), assistant("bbbbb"), user("ccccc"), assistant("ddddd"), user("eeeee")]
    assert truncated(messages, 34) == [SYSTEM, *messages[3:]]
    assert truncated(messages, 25) == [SYSTEM, *messages[3:]]
    assert truncated(messages, 24) == [SYSTEM, messages[5]]


def test_a_tool_s_result_stays_with_its_call() -> None:
    messages = [user("aaaaa"), assistant("bbbbb"), user("ccccc"), assistant("", "d"), result("d", "eeeee")]
    assert truncated(messages, 19) == messages[2:]
    with pytest.raises(TooLong):
        truncated(messages, 9)


def test_a_question_that_does_not_fit_is_refused_with_its_length() -> None:
    with pytest.raises(TooLong, match=r"15 tokens long.*room for 14") as raised:
        truncated([SYSTEM, user("aaaaa"), assistant("bbbbb"), user("ccccc")], 14)
    assert raised.value.stage is Stage.LLM


@given(conversations, st.integers(0, 200))
def test_as_much_of_the_end_stays_as_fits(messages: list[ChatMessage], limit: int) -> None:
    formed = well_formed(messages)
    system = [message for message in formed if message.role == "system"]
    others = [message for message in formed if message.role != "system"]
    beginnings = [index for index, message in enumerate(others) if message.role == "user"] or [0]
    possible = [system + others[beginning:] for beginning in beginnings]
    fitting = [some for some in possible if length(some) <= limit]
    if not fitting:
        with pytest.raises(TooLong):
            truncated(messages, limit)
    else:
        assert list(truncated(messages, limit)) == fitting[0]


@given(conversations, st.integers(0, 200))
def test_it_counts_only_a_few_times(messages: list[ChatMessage], limit: int) -> None:
    counted = 0

    async def count(some: Sequence[ChatMessage]) -> int:
        nonlocal counted
        counted += 1
        return length(some)

    with contextlib.suppress(TooLong):
        asyncio.run(truncate_to_context(messages, count, limit))
    assert counted <= 2 + max(1, len(messages)).bit_length()
