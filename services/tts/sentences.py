"""Text made fit for a speech engine and cut into pieces that it can speak one after another."""

import re
import unicodedata
from collections.abc import Iterator

MAX_PIECE_CHARACTERS = 200
"""A longer sentence is cut, so that its first piece comes early and cancelling takes hold soon."""

_ABBREVIATIONS = ("Dr", "Mr", "Mrs", "Ms", "Prof", "St", "vs", "etc", "e.g", "i.e", "approx")
_NO_END = "".join(rf"(?<!\b{re.escape(word)}\.)" for word in _ABBREVIATIONS) + r"(?<!\b[A-Z]\.)"
_SENTENCE_END = re.compile(rf"""(?<=[.!?;:]){_NO_END}\s+|(?<=[.!?]["')\]])\s+""")
_CLAUSE_END = re.compile(r"(?<=,)\s")
_AMOUNT = re.compile(r"([€£]) ?(\d+(?:[.,]\d+)*)")
_PUNCTUATION_RUN = re.compile(r"([^\w\s]{3})[^\w\s]+")
_UNSPOKEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "So", "Sk", "Me"})
_SPOKEN_SYMBOLS = frozenset("°")


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text in order, of at most 200 characters each, with nothing that cannot be
    spoken: no emoji, no control characters, no long runs of punctuation."""
    for sentence in _SENTENCE_END.split(_without_unspoken(text)):
        yield from (piece for piece in _pieces(sentence) if _has_words(piece))


def to_ascii(text: str) -> str:
    """The text in ASCII for engines that know nothing else: accents gone, signs in words.

    Letters of other scripts are lost.
    """
    amounts_before_currencies = _AMOUNT.sub(r"\2\1", text)
    decomposed = unicodedata.normalize("NFKD", amounts_before_currencies.translate(_ASCII_FOR))
    return decomposed.encode("ascii", "ignore").decode()


_ASCII_FOR = str.maketrans(
    {
        "’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "–": ", ", "—": ", ", "−": " minus ",
        "…": "...", "°": " degrees ", "€": " euros ", "£": " pounds ", "×": " times ",
        "÷": " divided by ", "⁄": "/", "ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe",
        "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "þ": "th", "ð": "th", "ı": "i",
    }
)  # fmt: skip


def _without_unspoken(text: str) -> str:
    spoken = "".join(char if _is_spoken(char) else " " for char in text)
    return _PUNCTUATION_RUN.sub(r"\1", " ".join(spoken.split()))


def _is_spoken(char: str) -> bool:
    return char in _SPOKEN_SYMBOLS or unicodedata.category(char) not in _UNSPOKEN_CATEGORIES


def _pieces(sentence: str) -> Iterator[str]:
    """A sentence, cut after commas, else between words, else anywhere, where it is too long."""
    while len(sentence) > MAX_PIECE_CHARACTERS:
        head = sentence[: MAX_PIECE_CHARACTERS + 1]
        ends = [match.end() for match in _CLAUSE_END.finditer(head)]
        end = ends[-1] if ends else head.rfind(" ") + 1 or MAX_PIECE_CHARACTERS
        yield sentence[:end].strip()
        sentence = sentence[end:].strip()
    yield sentence


def _has_words(text: str) -> bool:
    return any(char.isalnum() for char in text)
