"""A transcript in parts that fit on a screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from shared.payloads import Word
from shared.sentences import Boundaries

LONGEST_S = 7.0
LONGEST_CHARACTERS = 84
"""The most that Netflix's guide for English subtitles allows: 7 s, and two lines of 42 characters."""

PAUSE_S = 1.0
"""Words on either side of a longer pause are in different segments."""


@dataclass(frozen=True)
class Segment:
    """A part of a transcript and its time, from the audio's start."""

    text: str
    start_s: float
    end_s: float


def segments(words: Sequence[Word]) -> list[Segment]:
    """The words in sentences, or smaller parts: before a pause, and before one gets too long."""
    boundaries = Boundaries()
    boundaries.scan("".join(word.text for word in words), ended=True)
    ends = set(boundaries.sentences)
    parts: list[list[Word]] = []
    begins = True
    for word, end in zip(words, accumulate(len(word.text) for word in words), strict=True):
        if begins or _is_apart(parts[-1], word):
            parts.append([])
        parts[-1].append(word)
        begins = end in ends
    return [Segment(_text(part), part[0].start_s, part[-1].end_s) for part in parts]


def _is_apart(part: Sequence[Word], word: Word) -> bool:
    return (
        word.start_s - part[-1].end_s > PAUSE_S
        or word.end_s - part[0].start_s > LONGEST_S
        or len(_text([*part, word])) > LONGEST_CHARACTERS
    )


def _text(part: Sequence[Word]) -> str:
    return "".join(word.text for word in part).strip()
