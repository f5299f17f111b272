"""Text made fit for a speech engine."""

import re
import unicodedata
from collections.abc import Iterator

from shared.sentences import cut

MAX_CHARACTERS = 250
"""Longer text is cut, so that its first segment comes early and cancelling takes hold soon. The
orchestrator's chunks are no longer than this by default."""

_AMOUNT = re.compile(r"([€£]) ?(\d+(?:[.,]\d+)*)")
_PUNCTUATION_RUN = re.compile(r"([^\w\s]{3})[^\w\s]+")
_UNSPOKEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "So", "Sk", "Me"})


def utterances(text: str, *, by_sentence: bool = False) -> Iterator[str]:
    """The text in order, in pieces as `shared.sentences.cut` makes them, without emoji, control characters
    and long runs of punctuation."""
    spoken = "".join(char if _is_spoken(char) else " " for char in text)
    return cut(_PUNCTUATION_RUN.sub(r"\1", " ".join(spoken.split())), MAX_CHARACTERS, by_sentence=by_sentence)


def to_ascii(text: str) -> str:
    """The text in ASCII for engines that know nothing else: accents gone, signs in words.

    Letters of other scripts are lost.
    """
    amounts_before_currencies = _AMOUNT.sub(r"\2\1", text)
    decomposed = unicodedata.normalize("NFKD", amounts_before_currencies.translate(_ASCII_FOR))
    return decomposed.encode("ascii", "ignore").decode()


def _is_spoken(char: str) -> bool:
    return char == "°" or unicodedata.category(char) not in _UNSPOKEN_CATEGORIES


_ASCII_FOR = str.maketrans(
    {
        "’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "–": ", ", "—": ", ", "−": " minus ",
        "…": "...", "°": " degrees ", "€": " euros ", "£": " pounds ", "×": " times ",
        "÷": " divided by ", "⁄": "/", "ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe",
        "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "þ": "th", "ð": "th", "ı": "i",
    }
)  # fmt: skip
