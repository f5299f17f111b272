import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.llm.rules import RulesLLM
from shared.payloads import ChatMessage
from tests.support.replies import texts
from tests.support.rules_replies import NOW, answer, deltas


@pytest.mark.parametrize(
    ("heard", "reply"),
    [
        ("what is two plus to", "Two plus two is four."),
        ("what is to plus too", "Two plus two is four."),
        ("one is to times for", "Two times four is eight."),
        ("what is won plus won", "One plus one is two."),
        ("what is seven times a", "Seven times eight is fifty-six."),
        ("how much is well minus five", "Twelve minus five is seven."),
        ("watts the time", "It is ten past three in the afternoon."),
        ("what is the day to day", "Today is Monday, November twenty-third, twenty twenty-six."),
        ("see ya later", "Goodbye."),
        ("sam que very much", "You are welcome."),
    ],
)
def test_what_a_recogniser_makes_of_it_is_understood(heard: str, reply: str) -> None:
    assert answer(heard) == reply


@pytest.mark.parametrize(
    ("transcript", "reply"),
    [
        ("What is 2 plus 2?", "Two plus two is four."),
        ("What's too plus 2?", "Two plus two is four."),
        ("What's 12 divided by 4?", "Twelve divided by four is three."),
        ("What is 25-17?", "Twenty-five minus seventeen is eight."),
        ("What is 25 − 17?", "Twenty-five minus seventeen is eight."),
        ("6 x 7", "Six times seven is forty-two."),
        ("Okay, what's 9x9?", "Nine times nine is eighty-one."),
        ("7 times 8, please.", "Seven times eight is fifty-six."),
        ("10 minus four.", "Ten minus four is six."),
        ("What is 1.5 plus 2?", "One point five plus two is three point five."),
        ("What is minus 5 plus 3?", "Minus five plus three is minus two."),
        ("What is 3 million times 2?", "Three million times two is six million."),
        ("What is 1.5 million minus 500,000?", "One million five hundred thousand minus"),
        ("What is 10% of 50?", "Ten percent of fifty is five."),
        ("What's 15 percent of 80?", "Fifteen percent of eighty is twelve."),
        ("What does 2 plus 2 equal?", "Two plus two is four."),
        ("What's 2 plus 2? Thank you.", "Two plus two is four."),
        ("Can you tell me what 3 plus 4 is?", "Three plus four is seven."),
        ("Hello. Hi.", "Hello. What can I do for you?"),
        ("Hello, how are you?", "I am running well, thank you."),
        ("Could you tell me the time? Please.", "It is ten past three in the afternoon."),
        ("What’s the current time?", "It is ten past three in the afternoon."),
        ("What's today's date?", "Today is Monday, November twenty-third, twenty twenty-six."),
        ("What day of the week is it?", "Today is Monday, November twenty-third, twenty twenty-six."),
        ("Thanks a lot.", "You are welcome."),
        ("See you later.", "Goodbye."),
        ("Help me.", "I am the offline responder"),
        ("What can you do?", "I am the offline responder"),
        ("Tell me a joke", 'I heard: "Tell me a joke". I am the offline responder'),
        ("Is it 5 o'clock?", 'I heard: "Is it 5 o\'clock?" I am the offline responder'),
        ("Who am I?", "You have not told me your name yet."),
    ],
)  # fmt: skip
def test_what_whisper_writes_with_digits_signs_and_punctuation_is_understood(
    transcript: str, reply: str
) -> None:
    assert answer(transcript).startswith(reply)


@pytest.mark.parametrize(
    ("transcript", "name"),
    [
        ("My name is Peter.", "Peter"),
        ("My name is peter", "Peter"),
        ("MY NAME IS PETER", "Peter"),
        ("Hello! My name's Anna, what's yours?", "Anna"),
        ("My name is McKenna.", "McKenna"),
        ("My name is O'Brien.", "O'Brien"),
        ("My name’s Jean-Luc.", "Jean-Luc"),
        ("my name is jean-luc", "Jean-Luc"),
        ("Call me, Sarah.", "Sarah"),
        ("I'm called Tom.", "Tom"),
        ("Hi, I'm Jane.", "Jane"),
    ],
)
def test_a_name_is_taken_as_it_is_written(transcript: str, name: str) -> None:
    assert answer(transcript) == f"Nice to meet you, {name}."


@pytest.mark.parametrize(
    "said",
    [
        "what time is it in Paris",
        "what is the time in new york",
        "what day is it tomorrow",
        "what is the date of easter",
        "what is the square root of nine plus one",
        "what is two plus two squared",
        "two plus two plus x",
        "two plus three times four",
        "What is 100 and 5 plus 1000?",
        "What is 10% plus 5%?",
        "What is 3² + 1?",
        "What is 1 third plus 2?",
        "What is 2,5 plus 1?",
        "Call me later.",
        "Hello, I'm tired.",
        "nineteen eighty four plus one",
        "one one one plus two",
        "two plus two two",
        "five trillion plus one",
        "how many times did you call",
        "that is a plus for me",
        "what is one third",
        "four plus",
        "plus four",
        "tell me a story",
        "what is the capital of france",
        "hello can you book a table for two people please",
        "my name is not important",
        "Я не говорю по-английски",
    ],
)
def test_what_it_cannot_answer_it_says_back_and_that_it_is_the_offline_responder(said: str) -> None:
    reply = answer(said)
    assert reply.startswith(f'I heard: "{said.rstrip(".")}"')
    assert "I am the offline responder" in reply


def test_a_long_utterance_is_said_back_in_part() -> None:
    reply = answer("and so my fellow citizens " * 1_000)
    assert reply.startswith('I heard: "and so my fellow citizens')
    assert ' and so on".' in reply
    assert len(reply) < 500


@pytest.mark.parametrize("said", ["", " ", "?!", "👍"])
def test_an_utterance_without_words_is_answered_too(said: str) -> None:
    assert answer(said).startswith("I heard no words.")


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("Hello!", "Hello. What can I do for you?"),
        ("good morning", "Hello. What can I do for you?"),
        ("hi how are you", "I am running well, thank you."),
        ("What time is it?", "It is ten past three in the afternoon."),
        ("can you tell me the time please", "It is ten past three in the afternoon."),
        ("what day is it today", "Today is Monday, November twenty-third, twenty twenty-six."),
        ("what year is it", "Today is Monday, November twenty-third, twenty twenty-six."),
        ("thank you very much", "You are welcome."),
        ("okay thanks", "You are welcome."),
        ("Goodbye.", "Goodbye."),
        ("see you later", "Goodbye."),
        ("who are you", "I am the offline responder"),
        ("What's your name?", "I am the offline responder"),
        ("what can you do", "I am the offline responder"),
        ("are you a robot", "I am the offline responder"),
    ],
)
def test_small_talk_is_answered(said: str, reply: str) -> None:
    assert answer(said).startswith(reply)


def test_the_speakers_name_is_remembered_through_the_conversation() -> None:
    assert answer("What is my name?") == "You have not told me your name yet."
    assert answer("my name is peter") == "Nice to meet you, Peter."
    assert (
        answer("My name is Peter.", "What is two plus two?", "do you know my name") == "Your name is Peter."
    )
    assert answer("my name is peter", "call me Sarah", "what's my name") == "Your name is Sarah."
    assert answer("My name is Peter. What is my name?") == "Your name is Peter."
    assert answer("my name is peter", "hello") == "Hello, Peter. What can I do for you?"
    assert answer("my name is peter", "bye bye") == "Goodbye, Peter."


async def test_only_what_the_user_said_is_answered_and_remembered() -> None:
    reply = await deltas(
        ChatMessage(role="system", content="My name is System. What is two plus two?"),
        ChatMessage(role="user", content="What is my name?"),
        ChatMessage(role="assistant", content="My name is Assistant."),
    )
    assert "".join(reply) == "You have not told me your name yet."
    assert "offline responder" in "".join(await deltas())


async def test_the_reply_comes_word_by_word_and_lets_others_work_in_between() -> None:
    written: list[str] = []

    async def other() -> None:
        written.append("other")

    async def reply() -> None:
        question = [ChatMessage(role="user", content="What is two plus two?")]
        async for text in texts(RulesLLM().generate(question, max_tokens=200, temperature=0.0)):
            written.append(text)

    await asyncio.gather(reply(), other())
    assert written.index("other") == 1
    written.remove("other")
    assert written == ["Two", " plus", " two", " is", " four."]


async def test_a_reply_has_at_most_as_many_words_as_it_may() -> None:
    question = ChatMessage(role="user", content="What is two plus two?")
    assert await deltas(question, max_tokens=3) == ["Two", " plus", " two"]


@given(st.lists(st.text(max_size=80) | st.text("one two+- plus 3.,/x", max_size=80), min_size=1, max_size=4))
def test_anything_at_all_is_answered(said: list[str]) -> None:
    assert answer(*said).endswith((".", "?"))


@pytest.mark.parametrize(
    ("hour", "minute", "said"),
    [
        (0, 0, "twelve o'clock at night"),
        (0, 1, "one minute past twelve at night"),
        (7, 15, "a quarter past seven in the morning"),
        (11, 45, "a quarter to twelve in the morning"),
        (12, 30, "half past twelve in the afternoon"),
        (12, 58, "two minutes to one in the afternoon"),
        (18, 40, "twenty to seven in the evening"),
        (23, 33, "twenty-seven minutes to twelve at night"),
    ],
)
def test_times_of_day_are_given_as_people_give_them(hour: int, minute: int, said: str) -> None:
    assert answer("what time is it", now=NOW.replace(hour=hour, minute=minute)) == f"It is {said}."


def test_a_clock_that_is_not_set_to_a_place_is_said_to_be_so() -> None:
    assert answer("what time is it", now=NOW.replace(tzinfo=UTC)).endswith("afternoon, universal time.")


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (datetime(2006, 1, 1), "Sunday, January first, two thousand and six"),
        (datetime(1984, 2, 29), "Wednesday, February twenty-ninth, nineteen eighty-four"),
        (datetime(2026, 12, 31), "Thursday, December thirty-first, twenty twenty-six"),
    ],
)
def test_dates_are_given_as_people_give_them(day: datetime, said: str) -> None:
    assert answer("what is the date", now=day) == f"Today is {said}."
