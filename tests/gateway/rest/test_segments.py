"""How a transcript with word times is cut into segments."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rest.segments import LONGEST_CHARACTERS, LONGEST_S, PAUSE_S, segments
from shared.payloads import Word


def words(text: str, word_s: float = 0.2, pauses_s: dict[int, float] | None = None) -> list[Word]:
    """Words that follow one another, but for pauses before some of them."""
    end_s, spoken = 0.0, []
    for index, word in enumerate(text.split(" ")):
        start_s = end_s + (pauses_s or {}).get(index, 0.0)
        end_s = start_s + word_s
        spoken.append(Word(text=f" {word}", start_s=start_s, end_s=end_s))
    return spoken


def texts(spoken: list[Word]) -> list[str]:
    return [one.text for one in segments(spoken)]


def test_a_segment_is_a_sentence_and_lasts_from_its_first_word_to_its_last() -> None:
    one, other = segments(words("Dr. No paid 3.14 dollars. Did he?", pauses_s={0: 0.5, 5: 0.3}))
    assert (one.text, one.start_s, round(one.end_s, 3)) == ("Dr. No paid 3.14 dollars.", 0.5, 1.5)
    assert (other.text, round(other.start_s, 3), round(other.end_s, 3)) == ("Did he?", 1.8, 2.2)


def test_words_without_punctuation_are_apart_where_somebody_pauses() -> None:
    spoken = "what is two plus two and what is my name"
    assert texts(words(spoken, pauses_s={5: PAUSE_S + 0.1})) == [
        "what is two plus two",
        "and what is my name",
    ]
    assert texts(words(spoken, pauses_s={5: PAUSE_S - 0.1})) == [spoken]


def test_a_segment_is_no_longer_than_what_fits_on_a_screen() -> None:
    by_characters = segments(words("syllable " * 30 + "end"))
    assert all(len(one.text) <= LONGEST_CHARACTERS for one in by_characters)
    by_time = segments(words("oh " * 30 + "no", word_s=0.9))
    assert all(one.end_s - one.start_s <= LONGEST_S for one in by_time)
    assert len(by_characters) > 3
    assert len(by_time) > 3


def test_scripts_without_spaces_are_cut_too() -> None:
    spoken = [
        Word(text=text, start_s=at, end_s=at + 1) for at, text in enumerate(["你好", "。", "天气", "真好。"])
    ]
    assert texts(spoken) == ["你好。", "天气真好。"]


def test_no_words_make_no_segment() -> None:
    assert segments([]) == []


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.text(" ab.!?,1", max_size=12), st.floats(0, 3), st.floats(0, 9)), max_size=40),
)
def test_no_word_is_lost_and_segments_follow_one_another(drawn: list[tuple[str, float, float]]) -> None:
    spoken, now_s = [], 0.0
    for text, pause_s, duration_s in drawn:
        spoken.append(Word(text=text, start_s=now_s + pause_s, end_s=now_s + pause_s + duration_s))
        now_s = spoken[-1].end_s
    cut = segments(spoken)
    shown = "".join(one.text for one in cut)
    assert shown.replace(" ", "") == "".join(word.text for word in spoken).replace(" ", "")
    assert all(one.end_s <= other.start_s for one, other in pairwise(cut))
