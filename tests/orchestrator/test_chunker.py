import asyncio
import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.chunker import Chunker
from orchestrator.speakable import SpeakableText


class LLMBroke(Exception):
    """The error with which a text ends in these tests."""


def a_chunker(
    *, min_first: int = 10, max_first: int = 120, min_later: int = 25, max_later: int = 250
) -> Chunker:
    return Chunker(min_first=min_first, max_first=max_first, min_later=min_later, max_later=max_later)


async def standing_chunk(chunker: Chunker) -> str | None:
    """The chunk that stands with what has been written, None if the reader has to wait for one."""
    pull = asyncio.ensure_future(chunker.next_chunk())
    await asyncio.sleep(0)
    if pull.done():
        return pull.result()
    pull.cancel()
    await asyncio.wait([pull])
    return None


async def the_rest(chunker: Chunker) -> list[str]:
    chunks = []
    while (chunk := await chunker.next_chunk()) is not None:
        chunks.append(chunk)
    return chunks


async def chunks_of(text: str) -> list[str]:
    """The chunks of a text that is complete before the first is pulled."""
    chunker = a_chunker()
    chunker.write(text)
    chunker.close()
    return await the_rest(chunker)


async def first_chunk(text: str) -> str | None:
    chunker = a_chunker()
    chunker.write(text)
    return await standing_chunk(chunker)


async def chunks_after_the_first(text: str) -> list[str]:
    """What can be pulled after the first chunk, "First chunk.", while the text has not ended."""
    chunker = a_chunker()
    chunker.write("First chunk. " + text)
    assert await standing_chunk(chunker) == "First chunk."
    chunks = []
    while (chunk := await standing_chunk(chunker)) is not None:
        chunks.append(chunk)
    return chunks


# The first chunk


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


# Later chunks


async def test_a_later_chunk_holds_all_complete_sentences_that_have_gathered() -> None:
    text = "One sentence has come. Another one has come! And has a third? The fourth has"
    assert await chunks_after_the_first(text) == [text.removesuffix(" The fourth has")]


async def test_a_later_chunk_holds_as_many_whole_sentences_as_fit() -> None:
    sentence = "This is a sentence of fifty characters, more or so. "
    assert await chunks_after_the_first(sentence * 6) == [(sentence * 4).strip(), (sentence * 2).strip()]


async def test_sentences_are_gathered_up_to_so_many_times_the_chunk_before() -> None:
    chunker = Chunker(min_first=10, max_first=120, min_later=25, max_later=250, max_growth=3.0)
    sentence = "This is a sentence of thirty. "
    chunker.write("Good evening. " + sentence * 12)
    chunker.close()
    assert [len(chunk) for chunk in await the_rest(chunker)] == [13, 29, 59, 149, 119]


async def test_a_sentence_is_not_cut_for_being_longer_than_what_may_be_gathered() -> None:
    chunker = Chunker(min_first=10, max_first=120, min_later=25, max_later=250, max_growth=1.0)
    sentence = "This is a whole sentence, and nobody is going to cut it, whatever came before it."
    chunker.write(f"Good evening. {sentence} {sentence}")
    chunker.close()
    assert await the_rest(chunker) == ["Good evening.", sentence, sentence]


async def test_a_later_sentence_is_waited_for_until_white_space_confirms_its_end() -> None:
    assert await chunks_after_the_first("This is a whole sentence, or not.") == []
    assert await chunks_after_the_first("This is a whole sentence, it is. ") == [
        "This is a whole sentence, it is."
    ]
    assert await chunks_after_the_first("This is the end of a paragraph\n\n") == [
        "This is the end of a paragraph."
    ]


@pytest.mark.parametrize("end", [".”", '!"', "?)", ".')"])
async def test_a_closing_mark_belongs_to_its_sentence(end: str) -> None:
    sentence = "He was quite sure (or “so” he said" + end
    assert await chunks_after_the_first(sentence + " Then") == [sentence]


async def test_a_later_sentence_that_is_too_short_comes_with_the_next() -> None:
    assert await chunks_after_the_first("Yes. No! Why?") == []
    assert await chunks_after_the_first("Yes. No! Why? Because it is so. ") == [
        "Yes. No! Why? Because it is so."
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "I talked to Dr. Smith and Prof. Jones about it. ",
        "The number is 3.14159, I think, or 1,000. ",
        "It was, e.g. by J. R. R. Tolkien, in the U.S. at 5 p.m. on Monday. ",
        "It was... well, how do I say... quite good. ",
        "It was… well, how do I say… quite good. ",
        "Version v1.2.3 is at https://www.example.com/x.y now. ",
        "We compared red vs. blue, No. 5, approx. ten, Fig. 3 etc. with it. ",
    ],
)
async def test_full_stops_within_a_sentence_do_not_end_it(sentence: str) -> None:
    spoken = SpeakableText()
    assert await chunks_after_the_first(sentence) == [(spoken.feed(sentence) + spoken.finish()).strip()]


async def test_the_number_of_a_list_item_stays_with_the_item() -> None:
    text = "1. Wash all of the dishes. 2. Dry all of the dishes. 3. "
    assert await chunks_after_the_first(text) == ["1. Wash all of the dishes. 2. Dry all of the dishes."]


async def test_a_year_may_end_a_sentence() -> None:
    assert await chunks_after_the_first("It was in the year of 1999. Then") == ["It was in the year of 1999."]


@pytest.mark.parametrize("following", ["", "明日"])
async def test_cjk_sentences_end_without_white_space(following: str) -> None:
    sentences = "「" + "今日は" * 10 + "。」" + "明日は" * 10 + "！"
    assert await chunks_after_the_first(sentences + following) == [sentences]


async def test_a_sentence_that_is_too_long_is_cut_after_its_last_clause_that_fits() -> None:
    text = "one two three, " * 20
    chunks = await chunks_after_the_first(text)
    assert chunks == [("one two three, " * 16).strip()]


async def test_a_sentence_that_is_too_long_and_has_no_clauses_is_cut_between_words() -> None:
    chunks = await chunks_after_the_first("seven77 " * 40)
    assert chunks == [("seven77 " * 31).strip()]


async def test_a_word_that_is_too_long_is_cut_at_the_bound() -> None:
    assert await chunks_after_the_first("x" * 600) == ["x" * 250, "x" * 250]
    assert await chunks_after_the_first("ab " + "x" * 260) == ["ab", "x" * 250]


async def test_a_cut_between_characters_keeps_an_accent_with_its_letter() -> None:
    chunks = await chunks_after_the_first("x" + "e\u0301" * 200)
    assert [len(chunk) for chunk in chunks] == [249]


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


# Any text, in any split, pulled at any time

WORDS = re.compile(r"\w+")

_ATOMS = [
    "Hello", "word", "the", "I", "Dr", "Mr", "e.g", "U.S", "p.m", "etc", "J", "v1.2.3", "3.14", "1,000",
    "10:30", "1999", "2", "example.com", "https://x.org/a", "me@x.org", "don't", "well-known", "é",
    "e\u0301e\u0301", "你好", "今日はいい天気", "snake_case", "[clear_throat]", "x" * 45, "ab-" * 20,
    "1 2 3 4 5 6 7 8 9 0 " * 2, ".", ". ", "! ", "? ", ", ", "; ", ": ", "... ", "…", ".”", '." ',
    "!", "?", ",", ":", "。", "！", "，", "」", '"', "'", "(", ")", "—", " - ", " ", "  ", "\n", "\n\n",
    "\n- ", "\n1. ", "**", "*", "_", "`", "# ", "[a](b)", "<b>", "🎉", "👩‍👧", "!" * 30, "\u00a0",
    "\u200d", "\t",
]  # fmt: skip

reply = st.one_of(
    st.lists(st.sampled_from(_ATOMS), max_size=60).map("".join),
    st.lists(st.sampled_from(_ATOMS), max_size=60).map(" ".join),
    st.text(max_size=200),
)
steps = st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["write", "pull", "cancel"])), max_size=40)
bounds = st.tuples(st.integers(1, 12), st.integers(20, 60), st.integers(1, 25), st.integers(30, 90))


class Conversation:
    """Plays writes and pulls against one chunker, with at most one pull under way."""

    def __init__(self, chunker: Chunker) -> None:
        self.chunks: list[str] = []
        self._chunker = chunker
        self._pull: asyncio.Future[str | None] | None = None

    async def play(self, text: str, steps: list[tuple[int, str]]) -> None:
        for length, action in steps:
            delta, text = text[:length], text[length:]
            if delta:
                self._chunker.write(delta)
            await self._act(action)
        self._chunker.write(text)
        self._chunker.close()
        await self._finish()

    async def _act(self, action: str) -> None:
        if action == "pull":
            self._pull = self._pull or asyncio.ensure_future(self._chunker.next_chunk())
            await asyncio.sleep(0)
        if self._pull and action == "cancel":
            self._pull.cancel()
            await asyncio.wait([self._pull])
        self._collect()

    def _collect(self) -> None:
        if self._pull and self._pull.done():
            if not self._pull.cancelled():
                self.chunks.append(self._pull.result() or "")
            self._pull = None

    async def _finish(self) -> None:
        if self._pull and (chunk := await self._pull) is not None:
            self.chunks.append(chunk)
        self.chunks += await the_rest(self._chunker)


@given(reply)
@settings(max_examples=200)
def test_the_split_into_deltas_makes_no_difference_to_a_reader_who_comes_later(text: str) -> None:
    async def play(*deltas: str) -> list[str]:
        chunker = a_chunker(max_first=50, max_later=80)
        for delta in deltas:
            chunker.write(delta)
        chunker.close()
        return await the_rest(chunker)

    assert asyncio.run(play(*text)) == asyncio.run(play(text))


def assert_words_are_those_of(text: str, chunks: list[str], longest: list[int]) -> None:
    """None lost, repeated or reordered, and none cut in two unless it is longer than a chunk may be."""
    spoken = SpeakableText()
    words = WORDS.findall(spoken.feed(text) + spoken.finish())
    pieces = [(piece, longest[i]) for i, chunk in enumerate(chunks) for piece in WORDS.findall(chunk)]
    pieces.reverse()
    for word in words:
        piece, limit = pieces.pop()
        while piece != word:
            assert word.startswith(piece)
            assert len(word) > limit
            following, limit = pieces.pop()
            piece += following
    assert not pieces


@given(reply, steps, bounds, st.sampled_from([1.0, 3.0, float("inf")]))
@example("ab " + "x" * 70 + ". Yes.", [], (1, 20, 25, 80), 3.0)
@settings(max_examples=400)
def test_any_text_is_chunked_within_the_bounds_and_without_loss(
    text: str, steps: list[tuple[int, str]], bounds: tuple[int, int, int, int], growth: float
) -> None:
    min_first, max_first, min_later, max_later = bounds

    async def play() -> list[str]:
        conversation = Conversation(
            Chunker(
                min_first=min_first,
                max_first=max_first,
                min_later=min_later,
                max_later=max_later,
                max_growth=growth,
            )
        )
        await conversation.play(text, steps)
        return conversation.chunks

    chunks = asyncio.run(play())
    longest = [max_first] + [max_later] * len(chunks)
    assert_words_are_those_of(text, chunks, longest)
    for chunk, limit in zip(chunks, longest, strict=False):
        assert chunk == chunk.strip()
        assert WORDS.search(chunk)
        assert len(chunk) <= limit
    shortest = [min_first] + [min_later] * len(chunks)
    for (chunk, following), least, limit in zip(pairwise(chunks), shortest, longest, strict=False):
        word = following.split()[0]
        does_not_fit = len(chunk) + 1 + len(word) > limit or len(word) == max_later
        assert len(chunk) >= least or does_not_fit
