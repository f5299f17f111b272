"""The first chunk: one clause, as soon as it stands."""

import asyncio

import pytest

from tests.support.chunks import (
    a_chunker,
    chunks_of,
    first_chunk,
    standing_chunk,
)


@pytest.mark.parametrize(
    "clause",
    [
        "Well of course,",
        "Here you are;",
        "This is it:",
        "Wonderful idea!",
        "How are you?",
        "Let me think…",
        "It is raining.",
        "That is well-known.",
        "I really don't.",
        "I really can’t.",
        "Is it 5 or 6?",
        "So he said “no”,",
        'He said "never!"',
        "今日はいい天気ですね。",
        "今日はいい天気ですが、",
    ],
)
async def test_the_first_clause_is_handed_out_at_once_without_another_token(clause: str) -> None:
    assert await first_chunk(clause) == clause


@pytest.mark.parametrize(
    "text",
    [
        "It costs about 3.",
        "There are some 1,",
        "We meet at 10:",
        "I was talking to Dr.",
        "The initial is J.",
        "Fruit for example e.",
        "Some fruits e.g.",
        "He comes from the U.S.",
        "It is about 5 p.m.",
        "I was thinking..",
        "It is 20 %.",
        "Apples and so on etc.",
        "Not a clause end yet",
    ],
)
async def test_what_may_go_on_is_waited_for(text: str) -> None:
    assert await first_chunk(text) is None


@pytest.mark.parametrize(
    ("text", "chunk"),
    [
        ("It costs about 3. ", "It costs about 3."),
        ("There are some 1, ", "There are some 1,"),
        ("We meet at 10: ", "We meet at 10:"),
        ("I was thinking... ", "I was thinking..."),
        ("It is 20 %. ", "It is 20 %."),
        ("It costs “3.”", "It costs “3.”"),
    ],
)
async def test_the_next_character_settles_it(text: str, chunk: str) -> None:
    assert await first_chunk(text) == chunk


@pytest.mark.parametrize(
    "text",
    [
        "It costs about 3.14 euros and",
        "There are some 1,000 people and",
        "We meet at 10:30 with",
        "I was talking to Dr. Smith and",
        "The writer J. R. R. Tolkien and",
        "He comes from the U.S. and",
        "It is about 5 p.m. here",
        "I use version v1.2.3 of",
        "I am looking at example.com now",
        "I read it at www.example.com yesterday",
        "No. 5 is vs. No. 6",
        "1. First of all",
    ],
)
async def test_abbreviations_numbers_and_names_do_not_cut(text: str) -> None:
    assert await first_chunk(text) is None


async def test_a_first_clause_that_is_too_short_comes_with_the_next() -> None:
    assert await first_chunk("Yes,") is None
    assert await first_chunk("Yes, of") is None
    assert await first_chunk("Yes, of course, I can.") == "Yes, of course,"


async def test_the_first_chunk_is_one_clause_even_if_all_of_the_text_is_there() -> None:
    assert await chunks_of("Of course I can, my friend. It is easy.") == [
        "Of course I can,",
        "my friend. It is easy.",
    ]


async def test_a_first_clause_without_end_is_cut_between_two_words() -> None:
    text = "word " * 30
    assert await first_chunk(text[:120]) is None
    assert await first_chunk(text) == text[:120].strip()
    assert await first_chunk("a" * 118 + " 1 000 000 people") == "a" * 118


async def test_closing_marks_that_come_after_the_cut_are_not_spoken_with_the_next_chunk() -> None:
    chunker = a_chunker()
    chunker.write('"Come with me!')
    assert await standing_chunk(chunker) == '"Come with me!'
    for delta in ("!", '"', " ", '"', "Where to?", '" he asked me then.'):
        chunker.write(delta)
        assert await standing_chunk(chunker) is None
    chunker.write(" ")
    assert await standing_chunk(chunker) == '"Where to?" he asked me then.'


async def test_a_waiting_reader_gets_the_first_clause() -> None:
    chunker = a_chunker()
    pull = asyncio.ensure_future(chunker.next_chunk())
    for delta in ("Good", " morning", " to you", ","):
        await asyncio.sleep(0)
        assert not pull.done()
        chunker.write(delta)
    assert await pull == "Good morning to you,"
