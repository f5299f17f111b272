"""Words are counted wrong if they are, whatever they are written like."""

import pytest

from bench.word_errors import WordErrors, word_errors


@pytest.mark.parametrize(
    ("said", "transcript"),
    [
        ("what is two plus two", "What is 2 plus 2?"),
        ("what is two plus two", "What is 2 + 2?"),
        ("What is six times seven?", "What is 6 × 7?"),
        ("five five", "5-5"),
        ("two nine three four zero", "29340"),
        ("Set a timer for twenty five minutes.", "Set a timer for 25 minutes!"),
        ("and mister john dashwood", "And Mr. John Dashwood"),
        ("he was not an ill disposed young man", "He wasn't an ill-disposed young man."),
        ("go forward ten meters", "Go forward 10 metres."),
    ],
)
def test_how_it_is_written_makes_no_difference(said: str, transcript: str) -> None:
    assert word_errors(said, transcript).errors == 0


@pytest.mark.parametrize(
    ("said", "transcript", "errors", "words"),
    [
        ("Stop.", "", 1, 1),
        ("Stop.", "Please stop it now", 3, 1),
        ("the other one", "the another one", 1, 3),
        ("a bear or a shark", "bear or a big shark", 2, 5),
        ("two nine three four zero", "29350", 1, 5),
    ],
)
def test_words_missing_added_and_exchanged_are_counted(
    said: str, transcript: str, errors: int, words: int
) -> None:
    assert word_errors(said, transcript) == WordErrors(errors, words)


def test_the_rate_is_over_all_words_together() -> None:
    assert (WordErrors(1, 1) + WordErrors(0, 3)).rate == 0.25
    assert WordErrors().rate == 0.0
