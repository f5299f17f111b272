"""Words are counted wrong if they are, whatever they are written like."""

import pytest

from bench.word_errors import WordErrors, word_errors


@pytest.mark.parametrize(
    ("said", "heard", "errors", "words"),
    [
        ("What is two plus two?", "what is 2 plus 2", 0, 5),
        ("Doctor Brown's at nine.", "Dr. Browns at 9", 0, 4),
        ("Set a timer for twenty five minutes.", "Set a timer for 25 minutes!", 0, 6),
        ("Stop.", "", 1, 1),
        ("Stop.", "Please stop it now", 3, 1),
        ("the other one", "the another one", 1, 3),
        ("a bear or a shark", "bear or a big shark", 2, 5),
    ],
)
def test_words_missing_added_and_exchanged_are_counted(
    said: str, heard: str, errors: int, words: int
) -> None:
    assert word_errors(said, heard) == WordErrors(errors, words)


def test_the_rate_is_over_all_words_together() -> None:
    assert (WordErrors(1, 1) + WordErrors(0, 3)).rate == 0.25
    assert WordErrors().rate == 0.0
