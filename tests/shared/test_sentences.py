"""Where text is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sentences import cut


@pytest.mark.parametrize(
    "sentences",
    [
        [
            "It is 5 p.m. today.",
            "On Jan. 5 I met Dr. Smith at No. 10 there.",
            "He said “no!”",
            "Was it 3.14?",
        ],
        ["J. R. R. Tolkien wrote it, e.g. in the U.S. army.", "Well... perhaps so."],
        ["今日はいい天気ですね。", "「そうですね！」", "はい。"],
        ["كيف حالك؟", "أنا بخير، شكرا.", "وأنت؟"],
        ["आप कैसे हैं?", "मैं ठीक हूँ।", "और आप?"],
        ["یہ کیا ہے؟", "یہ ایک کتاب ہے۔", "اچھا۔"],
    ],
)
@pytest.mark.parametrize("space", [" ", "\n"])
def test_a_text_is_cut_by_sentence_in_any_script(sentences: list[str], space: str) -> None:
    assert list(cut(space.join(sentences), 100, by_sentence=True)) == sentences


def test_marks_of_other_scripts_need_no_white_space_after_them() -> None:
    assert list(cut("好。好！नमस्ते।हाँ", 100, by_sentence=True)) == ["好。", "好！", "नमस्ते।", "हाँ"]


def test_a_text_that_fits_is_not_cut() -> None:
    text = "One sentence. Another one, with a clause."
    assert list(cut(text, len(text))) == [text]


@pytest.mark.parametrize(
    ("longest", "pieces"),
    [
        (60, ["Here is another one,", "with a clause that is rather long and has no end. Yes."]),
        (40, ["Here is another one,", "with a clause that is rather long and", "has no end. Yes."]),
    ],
)
def test_a_text_that_does_not_fit_is_cut_after_a_sentence_else_a_clause_else_a_word(
    longest: int, pieces: list[str]
) -> None:
    text = (
        "So it goes on, and on. It is. Here is another one, with a clause that is rather long and has no end."
    )
    assert list(cut(text + " Yes.", longest)) == ["So it goes on, and on. It is.", *pieces]


@pytest.mark.parametrize("text", ["", " ", "...", "?! —", "“”"])
def test_a_text_without_words_has_no_pieces(text: str) -> None:
    assert list(cut(text, 100)) == []


@given(
    st.text(st.sampled_from("abZ 19.,;:!?'\"()।؟，\n") | st.characters()), st.integers(1, 60), st.booleans()
)
def test_no_word_is_lost_and_every_piece_fits(text: str, longest: int, by_sentence: bool) -> None:
    pieces = list(cut(text, longest, by_sentence=by_sentence))
    assert re.findall(r"[^\W_]", "".join(pieces)) == re.findall(r"[^\W_]", text)
    assert all(0 < len(piece) <= longest and piece == piece.strip() for piece in pieces)
