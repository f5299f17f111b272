"""What the assistant remembers: what was said, and of its replies what was heard."""

from hypothesis import given
from hypothesis import strategies as st

from conversation.memory import ConversationMemory, SpokenPiece, heard_text
from shared.payloads import MAX_TEXT_CHARACTERS

CHUNKS = ("The sun is out today.", "Take a hat with you.")


def pieces(*heard_samples: int) -> list[SpokenPiece]:
    """Each chunk in two pieces of 500 samples, of which so many were heard."""
    return [
        SpokenPiece(index // 2, CHUNKS[index // 2], 500, heard) for index, heard in enumerate(heard_samples)
    ]


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


def test_the_oldest_messages_are_forgotten() -> None:
    memory = ConversationMemory(3)
    for number in range(5):
        memory.add(f"question {number}", f"answer {number}")
    assert [text for _, text in said(memory)] == ["answer 3", "question 4", "answer 4"]
    assert ConversationMemory(0).messages == ()


def test_all_of_a_reply_that_was_heard_out_is_remembered() -> None:
    assert heard_text(pieces(500, 500, 500, 500)) == "The sun is out today. Take a hat with you."


def test_of_an_interrupted_reply_only_what_was_heard_is_remembered() -> None:
    assert heard_text(pieces(500, 500, 300, 0)) == "The sun is out today. Take …"
    assert heard_text(pieces(500, 100)) == "The sun is …"


def test_of_a_reply_that_nobody_heard_nothing_is_remembered() -> None:
    assert heard_text(pieces(0, 0, 0, 0)) == ""
    assert heard_text([]) == ""


@given(st.lists(st.integers(0, 500), min_size=1, max_size=4))
def test_never_more_than_the_reply_and_in_its_order(heard: list[int]) -> None:
    text = heard_text(pieces(*heard)).removesuffix(" …")
    assert " ".join(CHUNKS).startswith(text)


def test_what_was_said_in_vain_for_ever_is_remembered_as_far_as_a_message_goes() -> None:
    memory = ConversationMemory(40)
    for number in range(3):
        memory.add(f"{number} " * (MAX_TEXT_CHARACTERS // 4), "")
    ((_, content),) = said(memory)
    assert len(content) == MAX_TEXT_CHARACTERS
    assert content.endswith("2 2")
