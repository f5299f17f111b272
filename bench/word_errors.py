"""Words that were said against words that were transcribed: the word error rate, as the field counts it."""

import re
from dataclasses import dataclass
from functools import cache

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer

_SIGNS = {"+": " plus ", "×": " times ", "÷": " divided by "}
"""An engine may write a sum in signs; the normalizer leaves those before a number."""
_BETWEEN_DIGITS = re.compile(r"(?<=\d)(?=\d)")


@dataclass(frozen=True)
class WordErrors:
    """Words missing, added or exchanged, out of so many that were said; the errors of several add up."""

    errors: int = 0
    words: int = 0

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(self.errors + other.errors, self.words + other.words)

    @property
    def rate(self) -> float:
        """The word error rate; above 1 where much was made up."""
        return self.errors / self.words if self.words else 0.0


def word_errors(said: str, transcript: str) -> WordErrors:
    """Compare as Whisper's authors do: case, punctuation, spelling, contractions and whether a number is in
    words or digits make no difference. A number is as many words as it has digits. `said` is not empty."""
    alike = jiwer.process_words(normalized(said), normalized(transcript))
    return WordErrors(
        alike.insertions + alike.deletions + alike.substitutions,
        alike.hits + alike.deletions + alike.substitutions,
    )


def normalized(text: str) -> str:
    """What is compared."""
    plain = _BETWEEN_DIGITS.sub(" ", _normalizer()(_in_words(text)))
    return " ".join(_in_words(plain).replace("-", "minus ").split())


def _in_words(text: str) -> str:
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    return text


@cache
def _normalizer() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()
