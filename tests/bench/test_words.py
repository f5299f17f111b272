"""What counts as a wrong word, and what does not."""

import pytest

from bench.words import WordErrors, word_errors


@pytest.mark.parametrize(
    ("said", "transcript"),
    [
        ("what is two plus two", "What is 2 plus 2?"),
        ("what is two plus two", "What is 2 + 2?"),
        ("What is six times seven?", "What is 6 × 7?"),
        ("five five", "5-5"),
        ("two nine three four zero", "29340"),
        ("and mister john dashwood", "And Mr. John Dashwood"),
        ("he was not an ill disposed young man", "He wasn't an ill-disposed young man."),
        ("go forward ten meters", "Go forward 10 metres."),
    ],
)
def test_how_it_is_written_makes_no_difference(said: str, transcript: str) -> None:
    assert word_errors(said, transcript).errors == 0


@pytest.mark.parametrize(
    ("transcript", "errors"),
    [("seven of clubs", 0), ("seven of cloves", 1), ("seven clubs", 1), ("seven of the clubs", 1), ("", 3)],
)
def test_words_replaced_left_out_and_invented_are_counted(transcript: str, errors: int) -> None:
    assert word_errors("seven of clubs", transcript) == WordErrors(errors, 3)


def test_every_digit_is_a_word() -> None:
    assert word_errors("two nine three four zero", "29350") == WordErrors(1, 5)


def test_the_rate_of_several_is_that_of_all_their_words() -> None:
    assert (word_errors("yes", "no") + word_errors("seven of clubs", "seven of clubs")).rate == 0.25
