"""What comes before and after any speech engine: text made fit for it, silence trimmed off its speech."""

import re
import unicodedata
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from shared.sentences import cut

MAX_CHARACTERS = 250
"""Longer text is cut, so that its first segment comes early and cancelling takes hold soon. The
orchestrator's chunks are no longer than this by default."""

MAX_BEFORE_S = 0.05
"""Silence before a segment delays the first audio."""
MAX_AFTER_S = 0.25
"""About the pause between two sentences."""
SILENT_BELOW_PEAK = 0.01

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
    decomposed = unicodedata.normalize("NFKD", text.translate(_ASCII_FOR))
    return decomposed.encode("ascii", "ignore").decode()


def trimmed(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Mono speech with at most 0.05 s of silence before and 0.25 s after it; empty if all is silence."""
    level = np.abs(samples)
    audible = np.flatnonzero(level > SILENT_BELOW_PEAK * level.max(initial=0.0))
    if not audible.size:
        return samples[:0]
    first = max(0, int(audible[0]) - round(MAX_BEFORE_S * sample_rate_hz))
    return samples[first : int(audible[-1]) + 1 + round(MAX_AFTER_S * sample_rate_hz)]


def _is_spoken(char: str) -> bool:
    return char == "°" or unicodedata.category(char) not in _UNSPOKEN_CATEGORIES


_ASCII_FOR = str.maketrans(
    {
        "’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "–": ", ", "—": ", ", "…": "...",
        "°": " degrees ", "€": " euros ", "£": " pounds ", "ß": "ss",
        "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe",
        "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "þ": "th", "ð": "th", "ı": "i",
    }
)  # fmt: skip
