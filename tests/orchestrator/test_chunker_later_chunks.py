"""Later chunks: whole sentences, gathered, and cut only where one is too long."""

import pytest

from orchestrator.chunker import Chunker
from orchestrator.speakable import SpeakableText
from tests.support.chunks import chunks_after_the_first, the_rest


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
