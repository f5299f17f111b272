"""What Chatterbox is given to speak."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.chatterbox_text import (
    MANNERS,
    SOUNDS,
    chatterbox_utterances,
    ends_in_sound,
    longest_s,
)
from services.tts.preparation import MAX_CHARACTERS

SENTENCE = "This is a sentence of sixty characters, give or take a few. "


def only(text: str) -> str:
    (utterance,) = chatterbox_utterances(text)
    return utterance


def test_a_chunk_of_usual_length_is_spoken_as_one_piece() -> None:
    text = (SENTENCE * 4).strip()
    assert only(text) == text


def test_long_text_is_spoken_in_pieces_of_whole_sentences() -> None:
    pieces = list(chatterbox_utterances(SENTENCE * 10))
    assert [len(piece) // len(SENTENCE.strip()) for piece in pieces] == [4, 4, 2]
    assert " ".join(pieces) == (SENTENCE * 10).strip()


@pytest.mark.parametrize("tag", sorted(SOUNDS | MANNERS))
def test_tags_that_the_model_knows_stay_however_they_are_written(tag: str) -> None:
    assert only(f"Well {tag} yes.") == f"Well {tag} yes."
    assert only(f"Well{tag.upper()}!") == f"Well {tag}!"


def test_a_tag_is_never_cut_in_two() -> None:
    for length in range(235, 250):
        text = "word " * (length // 5) + "x" * (length % 5) + " [clear throat] and so on for quite a while"
        assert sum(piece.count("[clear throat]") for piece in chatterbox_utterances(text)) == 1


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("That is fine [smiles warmly].", "That is fine."),
        ("See [1], or x[i].", "See one, or x i."),
        ('He said "yes", and “no”.', "He said yes, and no."),
        ("It's {really} <good> *indeed*.", "It's really good indeed."),
        (
            "A naïve café costs £3 – at 20 °C…",
            "A naive cafe costs three pounds, at twenty degrees Celsius...",
        ),
        ("Ha 👍🏽 [laugh]!!!!!!!", "Ha [laugh]!!"),
    ],
)
def test_what_would_be_heard_as_noise_goes_and_the_words_stay(text: str, spoken: str) -> None:
    assert only(text) == spoken


@pytest.mark.parametrize(
    "text", ["", " \n", "...", '""', "[smiles]", "[happy]", "👍🏽", "[", "\0", "你好。", "-"]
)
def test_where_there_is_nothing_to_say_there_is_nothing_to_speak(text: str) -> None:
    assert list(chatterbox_utterances(text)) == []


@given(st.text("abcZ ,;:!?'\"()[]{}*\n", max_size=700))
def test_no_word_is_lost(text: str) -> None:
    pieces = list(chatterbox_utterances(text))
    spoken = re.sub(r"\[[A-Za-z][A-Za-z _-]{2,40}\]", "", text)
    assert "".join(re.findall(r"[A-Za-z]", "".join(pieces))) == "".join(re.findall(r"[A-Za-z]", spoken))


@given(st.text(st.sampled_from("abZ 19.,;:!?'\"()[]{}*\n") | st.characters(codec="ascii"), max_size=700))
def test_every_piece_is_short_and_safe(text: str) -> None:
    for piece in chatterbox_utterances(text):
        assert 0 < len(piece) <= MAX_CHARACTERS
        assert re.search(r"[A-Za-z0-9]", piece)
        sounds = "|".join(map(re.escape, SOUNDS | MANNERS))
        assert not re.search(r"""["{}<>\[\]\\|*^`~\x00-\x1f]""", re.sub(sounds, "", piece))


@pytest.mark.parametrize(
    ("text", "ends_so"),
    [("Funny [laugh]", True), ("Funny [laugh]!", True), ("[laugh] Funny.", False), ("Fine [happy].", False)],
)
def test_a_sound_at_the_end_is_told_from_a_word(text: str, ends_so: bool) -> None:
    assert ends_in_sound(only(text)) is ends_so


@pytest.mark.parametrize(
    ("text", "spoken_s"),
    [
        ("Yes.", 0.6),
        ("1,234,567.89", 7.0),
        ("Call 555-0123-456.", 5.5),
        ("WWW, HTTPS and the UNESCO.", 5.0),
        ("[clear throat] [cough] [laugh]", 5.0),
        ((SENTENCE * 4).strip(), 18.0),
    ],
)
def test_the_bound_on_the_time_to_say_it_leaves_slow_speakers_their_time(text: str, spoken_s: float) -> None:
    assert 1.2 * spoken_s < longest_s(only(text)) < 8 + 2.5 * spoken_s
