"""What the assistant remembers: what was said, and of the replies what was played."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from conversation.memory import ConversationMemory, SpokenSegment, played_text
from shared.audio.pcm import Pcm
from shared.payloads import MAX_MESSAGES, MAX_TEXT_CHARACTERS
from shared.settings import Settings
from shared.turn import TurnRequest

SPEECH = Pcm(np.zeros(16_000, np.float32), 16_000)
CHUNKS = ("The sun is out today.", "Take a hat with you.")


def segments(*played_samples: int) -> list[SpokenSegment]:
    """Each chunk in two segments of half a second, of which so many milliseconds were played."""
    return [
        SpokenSegment(index // 2, CHUNKS[index // 2], 0.5, played / 1000)
        for index, played in enumerate(played_samples)
    ]


def played(*played_ms: int, complete: bool = True) -> str:
    return played_text(segments(*played_ms), complete=complete)


def said(memory: ConversationMemory) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in memory.messages]


def test_turns_are_remembered_in_their_order() -> None:
    memory = ConversationMemory(40)
    memory.add("hello", "Hi there.")
    memory.add("who are you", "A voice.")
    assert said(memory) == [
        ("user", "hello"),
        ("assistant", "Hi there."),
        ("user", "who are you"),
        ("assistant", "A voice."),
    ]


def test_what_was_said_without_an_answer_joins_what_is_said_next() -> None:
    memory = ConversationMemory(40)
    memory.add("what is", "")
    memory.add("", "")
    memory.add("the weather like", "Sunny.")
    assert said(memory) == [("user", "what is the weather like"), ("assistant", "Sunny.")]


def test_the_oldest_messages_are_forgotten_and_what_is_left_begins_with_the_user() -> None:
    memory = ConversationMemory(4)
    for number in range(5):
        memory.add(f"question {number}", f"answer {number}")
    whole = ["question 3", "answer 3", "question 4", "answer 4"]
    assert [text for _, text in said(memory)] == whole
    odd = ConversationMemory(3)
    for number in range(5):
        odd.add(f"question {number}", f"answer {number}")
    assert [text for _, text in said(odd)] == whole[2:]
    assert ConversationMemory(0).messages == ()


turns = st.lists(st.tuples(st.sampled_from(["", "what", "why"]), st.sampled_from(["", "So."])), max_size=12)


@given(turns, st.integers(0, 6))
def test_user_and_assistant_alternate_beginning_with_the_user(
    turns: list[tuple[str, str]], max_messages: int
) -> None:
    memory = ConversationMemory(max_messages)
    for transcript, played in turns:
        memory.add(transcript, played)
    roles = [role for role, _ in said(memory)]
    assert len(roles) <= max_messages
    assert roles == [("user", "assistant")[index % 2] for index in range(len(roles))]


def test_all_that_the_settings_let_it_remember_fits_in_a_request() -> None:
    settings = Settings(max_conversation_messages=MAX_MESSAGES)
    memory = ConversationMemory(settings.max_conversation_messages)
    for number in range(MAX_MESSAGES):
        memory.add(f"question {number}", f"answer {number}")
    TurnRequest(audio=SPEECH, conversation=memory.messages)
    with pytest.raises(ValidationError):
        Settings(max_conversation_messages=MAX_MESSAGES + 1)


def test_all_of_a_reply_that_was_played_to_completion_is_remembered() -> None:
    assert played(500, 500, 500, 500) == "The sun is out today. Take a hat with you."


def test_of_an_interrupted_reply_only_what_was_played_is_remembered() -> None:
    assert played(500, 500, 300, 0) == "The sun is out today. Take …"
    assert played(500, 100) == "The sun is …"


def test_of_a_reply_that_was_not_played_nothing_is_remembered() -> None:
    assert played(0, 0, 0, 0) == ""
    assert played() == ""


def test_a_reply_that_broke_off_between_two_chunks_does_not_look_complete() -> None:
    whole = SpokenSegment(0, CHUNKS[0], 1.5, 1.5)
    assert played_text([whole], complete=False) == "The sun is out today. …"


def test_of_a_chunk_whose_segments_still_come_no_more_is_remembered_than_was_played() -> None:
    """By the speed of the voice so far, or the usual one: a second for 17 characters."""
    assert played(500, complete=False) == "The …"
    assert played(500, 500, 500, complete=False) == "The sun is out today. Take a …"
    slow = [SpokenSegment(0, CHUNKS[0], 4.0, 4.0), SpokenSegment(1, CHUNKS[1], 1.0, 1.0)]
    assert played_text(slow, complete=False) == "The sun is out today. Take …"


@given(st.lists(st.integers(0, 500), min_size=1, max_size=4), st.booleans())
def test_never_more_than_the_reply_and_in_its_order(played_ms: list[int], complete: bool) -> None:
    assert " ".join(CHUNKS).startswith(played(*played_ms, complete=complete).removesuffix(" …"))


def test_what_was_said_in_vain_for_ever_is_remembered_as_far_as_a_message_goes() -> None:
    memory = ConversationMemory(40)
    for number in range(3):
        memory.add(f"{number} " * (MAX_TEXT_CHARACTERS // 4), "")
    ((_, content),) = said(memory)
    assert len(content) == MAX_TEXT_CHARACTERS
    assert content.endswith("2 2")
