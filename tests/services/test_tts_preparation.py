"""Text made fit for a TTS engine: ASCII, in utterances of bounded length."""

import re

from hypothesis import given
from hypothesis import strategies as st

from services.tts.preparation import MAX_CHARACTERS, to_ascii, utterances


@given(st.text(st.sampled_from("abz 19.,;:!?'\"()\n") | st.characters(codec="ascii"), max_size=600))
def test_utterances_lose_no_word_and_keep_their_bounds(text: str) -> None:
    pieces = list(utterances(text))
    letters = "".join(re.findall(r"[A-Za-z0-9]", text))
    assert "".join(re.findall(r"[A-Za-z0-9]", "".join(pieces))) == letters
    assert all(0 < len(piece) <= MAX_CHARACTERS for piece in pieces)
    assert not any(re.search(r"[^\w\s]{4}", piece) for piece in pieces)
    assert not any(re.search(r"[\x00-\x1f]", piece) for piece in pieces)


@given(st.text())
def test_ascii_is_made_of_any_text(text: str) -> None:
    assert to_ascii(text).isascii()


def test_typographic_signs_become_those_of_ascii() -> None:
    said = " ".join(to_ascii("Élan – “naïve” Straße, the € and …").split())
    assert said == 'Elan , "naive" Strasse, the euros and ...'
