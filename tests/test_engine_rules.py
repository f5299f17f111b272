"""The offline responder: what it knows it answers, the rest it says that it heard."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.llm.rules import RulesLLM
from services.llm.sums import answer_sum
from shared.payloads import ChatMessage
from tests.virtual_clock import play

NOW = datetime(2026, 11, 23, 15, 10)


async def deltas(*said: str, max_tokens: int = 200) -> list[str]:
    messages = [ChatMessage(role="system", content="Be brief.")]
    for text in said:
        messages += [ChatMessage(role="user", content=text), ChatMessage(role="assistant", content="I see.")]
    stream = RulesLLM(lambda: NOW).generate(messages[:-1], max_tokens=max_tokens, temperature=0.7)
    return [delta async for delta in stream]


async def reply(*said: str) -> str:
    return "".join(await deltas(*said))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what is two plus two", "Two plus two is four."),
        ("What's 12 minus 20?", "Twelve minus twenty is minus eight."),
        ("how much is six times seven", "Six times seven is forty two."),
        ("what is ten divided by four", "Ten divided by four is two point five."),
        ("2 + 3 * 4", "Two plus three times four is fourteen."),
        (
            "what is one hundred and five plus nine",
            "One hundred and five plus nine is one hundred and fourteen.",
        ),
        ("what is 1,000,000 minus 1", None),
    ],
)
async def test_sums_are_worked_out_and_said_in_words(question: str, answer: str | None) -> None:
    assert await reply(question) == (
        answer
        or "One million minus one is nine hundred and ninety nine thousand nine hundred and ninety nine."
    )


@pytest.mark.parametrize("heard", ["what is two plus to", "what is too plus two", "what is to plus to"])
async def test_sums_survive_what_a_recogniser_makes_of_numbers(heard: str) -> None:
    assert await reply(heard) == "Two plus two is four."


async def test_nothing_is_divided_by_zero() -> None:
    assert "nothing can be divided by zero" in await reply("what is five divided by zero")


@given(st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_any_sum_of_two_whole_numbers_is_right(left: int, right: int) -> None:
    signs = [str(abs(n)) if n >= 0 else f"minus {abs(n)}" for n in (left, right)]
    expected = answer_sum([*str(left + right).replace("-", "minus ").split(), "plus", "0"])
    got = answer_sum(f"{signs[0]} plus {signs[1]}".split())
    assert got
    assert expected
    assert got.split(" is ")[1] == expected.split(" is ")[1]


async def test_the_time_and_the_date_are_told_as_they_are_spoken() -> None:
    assert "3" in await reply("what time is it") or "three" in await reply("what time is it")
    today = await reply("what is the date today")
    assert "Monday" in today
    assert "November" in today


async def test_a_name_is_remembered_for_the_conversation() -> None:
    assert "Peter" in await reply("my name is peter")
    assert await reply("my name is peter", "what is my name") == "Your name is Peter."
    assert "Sarah" in await reply("my name is peter", "call me sarah", "do you know my name")
    assert "not told me" in await reply("what is my name")


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("hello", "Hello"),
        ("good morning", "Hello"),
        ("thank you very much", "welcome"),
        ("goodbye", "Goodbye"),
        ("what can you do", "offline responder"),
        ("who are you", "offline responder"),
    ],
)
async def test_it_is_polite_and_says_what_it_is(said: str, answer: str) -> None:
    assert answer in await reply(said)


@pytest.mark.parametrize("said", ["tell me about the roman empire", "thanks to him the ship sank that night"])
async def test_otherwise_it_says_what_it_heard_and_that_it_is_the_offline_responder(said: str) -> None:
    answer = await reply(said)
    assert f'I heard: "{said}"' in answer
    assert "I am the offline responder" in answer


async def test_it_streams_its_words_like_a_model() -> None:
    assert await deltas("what is two plus two") == ["Two", " plus", " two", " is", " four."]


async def test_it_keeps_to_the_bound_of_tokens() -> None:
    assert await deltas("what is two plus two", max_tokens=2) == ["Two", " plus"]


async def test_the_same_conversation_gets_the_same_answer() -> None:
    assert {await reply("sing a song for me") for _ in range(5)} == {await reply("sing a song for me")}


@given(st.text(max_size=300))
def test_it_always_has_an_answer_of_a_speakable_length(said: str) -> None:
    answer = play(reply(said))
    assert 0 < len(answer) < 700
