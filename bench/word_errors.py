"""How many words of a transcript are wrong."""

import re
from dataclasses import dataclass

from text_to_num import alpha2digit

_TITLES = {"mr": "mister", "mrs": "missus", "dr": "doctor"}


@dataclass(frozen=True)
class WordErrors:
    """Words missing, added or exchanged, out of so many that were said; the errors of several add up."""

    errors: int = 0
    words: int = 0

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(self.errors + other.errors, self.words + other.words)

    @property
    def rate(self) -> float:
        """Errors per word; above 1 where much was made up."""
        return self.errors / self.words if self.words else 0.0


def word_errors(said: str, heard: str) -> WordErrors:
    """The fewest changes that make one of the other. Capitals, punctuation and apostrophes do not count, and
    "two" is "2"."""
    reference, words = _words(said), _words(heard)
    row = list(range(len(words) + 1))  # of the changes from what was said so far to each beginning
    for index, word in enumerate(reference, start=1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(words, start=1):
            exchanged = diagonal + (word != other)
            diagonal, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, exchanged)
    return WordErrors(row[-1], len(reference))


def _words(text: str) -> list[str]:
    text = text.lower().replace("’", "'").replace("'", "")
    text = re.sub(r"[^\w ]", " ", text)
    text = re.sub(r"\b(mrs?|dr)\b", lambda title: _TITLES[title[0]], text)
    return str(alpha2digit(" ".join(text.split()), "en", threshold=0)).split()
