"""How a text ends: complete, by a failure, or with its reader cancelled."""

import asyncio

import pytest

from tests.support.chunks import (
    a_chunker,
    chunks_of,
    first_chunk,
)


class LLMBroke(Exception):
    """The error with which a text ends in these tests."""


# The end


async def test_the_end_of_the_text_ends_its_last_sentence_however_short() -> None:
    assert await chunks_of("Sure") == ["Sure"]
    assert await chunks_of("It is good here. Yes") == ["It is good here.", "Yes"]
    assert await chunks_of("It costs about 3.") == ["It costs about 3."]
    assert await chunks_of("It is good here. It is a nice place to be. Yes") == [
        "It is good here.",
        "It is a nice place to be. Yes",
    ]


@pytest.mark.parametrize("text", ["", "  \n ", "...", "?! —", "🎉", "```\ncode\n```", "!" * 500])
async def test_a_text_with_nothing_to_say_has_no_chunks(text: str) -> None:
    assert await chunks_of(text) == []


async def test_punctuation_alone_is_no_chunk() -> None:
    assert await first_chunk("— … — ! — ? —") is None
    assert await chunks_of("It is good here. " + "— " * 300 + "Really good.") == [
        "It is good here.",
        "— " * 50 + "Really good.",
    ]


async def test_the_end_is_told_again_to_who_asks_again() -> None:
    chunker = a_chunker()
    chunker.close()
    assert [await chunker.next_chunk(), await chunker.next_chunk()] == [None, None]


async def test_the_end_wakes_a_waiting_reader() -> None:
    chunker = a_chunker()
    pull = asyncio.ensure_future(chunker.next_chunk())
    await asyncio.sleep(0)
    chunker.close()
    assert await pull is None


async def test_nothing_can_be_written_after_the_end() -> None:
    chunker = a_chunker()
    chunker.close()
    with pytest.raises(RuntimeError, match="ended"):
        chunker.write("more")


# Failure


async def test_after_a_failure_the_complete_sentences_are_handed_out_then_the_error_raised() -> None:
    chunker = a_chunker()
    chunker.write("First, there is this. Then there is that. And th")
    chunker.fail(LLMBroke())
    assert await chunker.next_chunk() == "First, there is this."
    assert await chunker.next_chunk() == "Then there is that."
    for _ in range(2):
        with pytest.raises(LLMBroke):
            await chunker.next_chunk()


@pytest.mark.parametrize(
    "text", ["First of all, there is thi", "It costs 3.", "I was talking to Dr.", "Well... "]
)
async def test_a_failure_drops_a_sentence_that_is_not_complete(text: str) -> None:
    chunker = a_chunker()
    chunker.write(text)
    chunker.fail(LLMBroke())
    with pytest.raises(LLMBroke):
        await chunker.next_chunk()


async def test_a_failure_keeps_a_complete_sentence_that_nothing_follows() -> None:
    chunker = a_chunker()
    chunker.write("It works.")
    chunker.fail(LLMBroke())
    assert await chunker.next_chunk() == "It works."


async def test_a_failure_wakes_a_waiting_reader() -> None:
    chunker = a_chunker()
    pull = asyncio.ensure_future(chunker.next_chunk())
    await asyncio.sleep(0)
    chunker.fail(LLMBroke())
    with pytest.raises(LLMBroke):
        await pull


async def test_the_first_end_of_a_text_counts() -> None:
    closed, failed = a_chunker(), a_chunker()
    closed.close()
    closed.fail(LLMBroke())
    failed.fail(LLMBroke())
    failed.close()
    assert await closed.next_chunk() is None
    with pytest.raises(LLMBroke):
        await failed.next_chunk()


# Cancelled readers


async def test_a_cancelled_pull_loses_nothing() -> None:
    chunker = a_chunker()
    pull = asyncio.ensure_future(chunker.next_chunk())
    await asyncio.sleep(0)
    chunker.write("Good morning to you.")  # the chunk stands, the reader is woken, and then cancelled
    pull.cancel()
    await asyncio.wait([pull])
    assert pull.cancelled()
    assert await chunker.next_chunk() == "Good morning to you."
