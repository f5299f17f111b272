"""The one rule of where text is cut: what ends a sentence or a clause, while text is written and when it
is complete."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from enum import Enum

SENTENCE_MARKS = "。！？｡؟۔।॥።"
"""They end a sentence whatever follows. The full stop of Latin scripts does so where white space follows,
and not after an abbreviation."""

CLAUSE_MARKS = "、，；：،؛"
MARKS = ".!?…,;:" + SENTENCE_MARKS + CLAUSE_MARKS
CLOSING = "\"'”’»)]}」』）】》〉"


def cut(text: str, longest: int, *, by_sentence: bool = False) -> Iterator[str]:
    """A complete text in pieces of at most `longest` characters that have words: as many whole sentences as
    fit, or one `by_sentence`; else clauses, else words."""
    boundaries = Boundaries()
    boundaries.scan(text, ended=True)
    start = 0
    while start < len(text):
        bounds = start + 1, start + longest
        end = boundaries.sentences.first(*bounds) if by_sentence else None
        if not end:
            fits = len(text) <= start + longest
            end = len(text) if fits else boundaries.last_fitting(text, start, *bounds)
        if has_words(text[start:end]):
            yield text[start:end].strip()
        start = end


def has_words(text: str) -> bool:
    """Whether anything in a text can be spoken."""
    return any(char.isalnum() for char in text)


class Ends(list[int]):
    """Places in a text, in order, at which it may be cut."""

    def first(self, lowest: int, highest: int) -> int | None:
        """The first from `lowest` on, unless it is above `highest`."""
        index = bisect_left(self, lowest)
        return self[index] if index < len(self) and self[index] <= highest else None

    def last(self, lowest: int, highest: int) -> int | None:
        """The last up to `highest`, unless it is below `lowest`."""
        index = bisect_right(self, highest) - 1
        return self[index] if index >= 0 and self[index] >= lowest else None


class Boundaries:
    """Where the clauses and sentences of a growing text end. What has been judged is not judged again."""

    def __init__(self) -> None:
        self.clauses = Ends()
        """The ends of clauses and sentences, the text's own end among them if it is probably one."""
        self.sentences = Ends()
        """The ends of sentences that white space follows, or that need none."""
        self.last_complete_sentence = 0
        """Where the last sentence ends that is complete even if the text breaks off here; 0 if none is."""
        self._confirmed = 0, 0  # how many clauses and sentences something follows
        self._scanned = 0
        self._seen = 0, False

    def scan(self, text: str, *, ended: bool) -> None:
        """Find the new ends in `text`, which begins as the last time."""
        if self._seen == (len(text), ended):
            return
        self._seen = len(text), ended
        del self.clauses[self._confirmed[0] :], self.sentences[self._confirmed[1] :]
        self.last_complete_sentence = self.sentences[-1] if self.sentences else 0
        for marks in _MARKS.finditer(text, self._scanned):
            following = text[marks.end() : marks.end() + 1] or (" " if ended else "")
            end = _end_at(text, marks, following)
            if end:
                self.clauses.append(marks.end())
            if end is _End.SENTENCE:
                self.last_complete_sentence = marks.end()
                if following or marks[1][-1] in SENTENCE_MARKS:
                    self.sentences.append(marks.end())
            if not following:
                self._scanned = marks.start()
                return
            self._confirmed = len(self.clauses), len(self.sentences)
        self._scanned = len(text)

    def last_fitting(self, text: str, start: int, lowest: int, highest: int) -> int:
        """Where to cut a piece that begins at `start` off a text that goes on after `highest`, if possible
        not below `lowest`: after a sentence, else a clause, else a word, else anywhere."""
        return (
            self.sentences.last(lowest, highest)
            or self.clauses.last(lowest, highest)
            or _between_words(text, start, lowest, highest)
        )


class _End(Enum):
    CLAUSE = "clause"
    SENTENCE = "sentence"


def _end_at(text: str, marks: re.Match[str], following: str) -> _End | None:
    """What ends at these punctuation marks, if that is certain; `following` is "" while unknown."""
    core, closing = marks.groups()
    last, before = core[-1], text[marks.start() - 1 : marks.start()]
    if last in SENTENCE_MARKS:
        return _End.SENTENCE
    if last in CLAUSE_MARKS:
        return _End.CLAUSE
    if following and not following.isspace():
        return None  # 3.14, 10:30, example.com
    known = bool(following or closing)
    if not known and (not before or before.isspace()):
        return None
    if last in ",;:":
        return _End.CLAUSE if known or not before.isdigit() else None
    if "!" in core or "?" in core:
        return _End.SENTENCE
    if core != ".":
        return _End.CLAUSE if known or last == "…" else None  # an ellipsis, of which more dots may come
    return _End.SENTENCE if _full_stop_ends_sentence(text, marks.start(), known=known) else None


def _full_stop_ends_sentence(text: str, at: int, *, known: bool) -> bool:
    """Whether the full stop at `at` does, in any case if it is not `known` what follows."""
    before = text[max(0, at - _LONGEST_WORD) : at]
    word = _BEFORE_WORD.split(before)[-1].lstrip("'")
    if not word or _ABBREVIATION.fullmatch(word):
        return False
    if word.isdigit():
        leading = before[: -len(word)].rstrip()
        return known and bool(leading) and leading[-1] not in MARKS + CLOSING  # else an ordinal: "1. First"
    return known or bool(_PLAIN_WORD.fullmatch(word))


def _between_words(text: str, start: int, lowest: int, highest: int) -> int:
    for at in range(highest, max(lowest, start + 1) - 1, -1):
        in_number = text[at - 1].isdigit() and text[at + 1 : at + 2].isdigit()
        if text[at].isspace() and not in_number:
            return at
    for at in range(highest, start, -1):
        within_word = _WORD_CHARACTER.match(text[at - 1]) and _WORD_CHARACTER.match(text[at])
        if not within_word and not unicodedata.category(text[at]).startswith("M"):  # an accent of its letter
            return at
    return highest


_MARKS = re.compile(rf"([{re.escape(MARKS)}]+)([{re.escape(CLOSING)}]*)")
_WORD_CHARACTER = re.compile(r"\w")

_LONGEST_WORD = 24  # as far back as a full stop is judged by
_BEFORE_WORD = re.compile(r"[\s(\[{\"“‘«—–]")
_PLAIN_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['’-])*[^\W\d_]")
_ABBREVIATION = re.compile(
    r"[^\W\d_]|(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}"  # J. R. R., U.S., e.g., p.m., Ph.D.
    r"|Dr|Mrs?|Ms|Mx|Prof|Rev|Hon|Gov|Sen|Rep|Gen|Col|Capt|Lt|Sgt|Jr|Sr|St|Mt|Ave|Blvd|Rd"
    r"|Inc|Ltd|Co|Corp|Bros|Dept|Jan|Feb|Aug|Sept|Oct|Nov|Dec"
    r"|Nos?|[Ff]igs?|[Vv]ol|Ch|Sec|Eq|pp|vs|etc|approx|al|cf|ca|eg|ie|viz|resp|incl|excl|dept|est"
)
