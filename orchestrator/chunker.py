"""From an LLM's text, as it comes, to chunks that a TTS engine speaks one after another.

It is pulled. The first chunk is the first clause, handed out without waiting for another token to
confirm that it has ended; each later one holds all complete sentences that have gathered meanwhile.
"""

import asyncio
import re
import unicodedata
from bisect import bisect_left, bisect_right
from enum import Enum
from typing import NamedTuple

from orchestrator.speakable import SpeakableText


class Chunker:
    """Cuts one reply. One writer and one reader, on the same event loop.

    The bounds are in characters. The first chunk keeps to `min_first` and `max_first`, the others to
    `min_later` and `max_later`. A chunk is shorter than its minimum only at the end of the text, or
    where what follows is too long to be spoken with it. Words stay whole unless one is longer than the
    maximum. No chunk is without a letter or digit. Sentences are gathered up to `max_growth` times the
    length of the chunk before: while it is heard, the next one is made, which takes the longer the more
    it says.
    """

    def __init__(
        self,
        *,
        min_first: int,
        max_first: int,
        min_later: int,
        max_later: int,
        max_growth: float = float("inf"),
    ) -> None:
        self._first_bounds = (min_first, max_first)
        self._later_bounds = (min_later, max_later)
        self._max_growth = max_growth
        self._last_length = 0
        self._filter = SpeakableText()
        self._text = ""  # all that can be spoken so far
        self._start = 0  # where in it the next chunk begins
        self._is_first = True
        self._cut_glued = False  # self._start has no white space before it
        self._boundaries = _Boundaries()
        self._ended = False
        self._error: Exception | None = None
        self._ready = asyncio.Event()  # a chunk stands, or the text has ended

    def write(self, delta: str) -> None:
        """Add text as the LLM wrote it."""
        if self._ended:
            raise RuntimeError("The text has ended: nothing can be written to it.")
        if spoken := self._filter.feed(delta):
            self._text += spoken
            if not self._ready.is_set() and self._chunk_end() is not None:
                self._ready.set()

    def close(self) -> None:
        """The text is complete. Without effect if it has ended before."""
        if not self._ended:
            self._text += self._filter.finish()
            self._end()

    def fail(self, error: Exception) -> None:
        """The text broke off: its complete sentences are handed out, then next_chunk raises `error`.

        Without effect if the text has ended before.
        """
        if not self._ended:
            self._text += self._filter.finish()
            self._boundaries.scan(self._text, ended=False)
            self._text = self._text[: max(self._start, self._boundaries.last_complete_sentence)]
            self._boundaries = _Boundaries()
            self._error = error
            self._end()

    @property
    def is_done(self) -> bool:
        """Whether the text has ended and all of it has been handed out."""
        return self._ended and not self._text[self._start :].strip()

    async def next_chunk(self) -> str | None:
        """The next chunk once it stands, None at the end. Cancelling it loses no text."""
        while True:
            if (end := self._chunk_end()) is not None:
                if chunk := self._take(end):
                    return chunk
            elif self._ended:
                if self._error:
                    raise self._error
                return None
            else:
                self._ready.clear()
                await self._ready.wait()

    def _end(self) -> None:
        self._ended = True
        self._ready.set()

    def _chunk_end(self) -> int | None:
        """Where the next chunk ends, if it stands."""
        self._boundaries.scan(self._text, ended=self._ended)
        self._skip_remains()
        shortest, longest = self._first_bounds if self._is_first else self._later_bounds
        room = _Room(self._start, self._start + shortest, self._start + longest)
        if self._is_first:
            end = self._boundaries.first_clause(room) or self._end_of_text(room)
        else:
            end = (
                self._grown(room, shortest)
                or self._boundaries.first_sentence(room)
                or self._end_of_text(room)
            )
        if end is None and len(self._text) > room.highest:
            return self._boundaries.last_clause(room) or _between_words(self._text, room)
        return end

    def _grown(self, room: "_Room", shortest: int) -> int | None:
        """The most that may be gathered."""
        most = max(shortest, self._max_growth * self._last_length)
        room = room._replace(highest=int(min(room.highest, room.start + most)))
        return self._end_of_text(room) or self._boundaries.last_sentence(room)

    def _end_of_text(self, room: "_Room") -> int | None:
        fits = self._start < len(self._text) <= room.highest
        return len(self._text) if self._ended and fits else None

    def _skip_remains(self) -> None:
        """Pass over white space, and over the closing marks of what was cut before they came."""
        remains = (_REMAINS if self._cut_glued else _SPACE).match(self._text, self._start)
        if remains and remains.end() > self._start:
            self._start = remains.end()
            self._cut_glued = self._cut_glued and not self._text[self._start - 1].isspace()

    def _take(self, end: int) -> str:
        """Cut the text at `end`. Returns "" if nothing before it can be spoken."""
        start, self._start = self._start, end
        self._cut_glued = True
        if not _can_be_spoken(self._text, start, end):
            return ""
        self._is_first = False
        self._last_length = end - start
        return self._text[start:end].strip()


class _Room(NamedTuple):
    """Where in the text a chunk starts, and the lowest and highest place where it should end."""

    start: int
    lowest: int
    highest: int

    def fitting(self, end: int) -> int | None:
        return end if self.lowest <= end <= self.highest else None


class _End(Enum):
    CLAUSE = "clause"
    SENTENCE = "sentence"


class _Unconfirmed(NamedTuple):
    """An end that nothing follows yet."""

    at: int
    end: _End
    is_wide: bool  # by a mark of the CJK kind, after which there is no white space


class _Boundaries:
    """Where the clauses and sentences of a growing text end; what has been judged is not judged again."""

    def __init__(self) -> None:
        self._clauses: list[int] = []  # the ends of sentences too
        self._sentences: list[int] = []
        self._unconfirmed: _Unconfirmed | None = None
        self._scanned = 0
        self._seen = (0, False)

    def scan(self, text: str, *, ended: bool) -> None:
        """Find the new ends in `text`, which begins as the last time."""
        if self._seen == (len(text), ended):
            return
        self._seen = (len(text), ended)
        self._unconfirmed = None
        for marks in _MARKS.finditer(text, self._scanned):
            following = text[marks.end() : marks.end() + 1] or (" " if ended else "")
            end = _end_at(text, marks, following)
            if not following:
                self._unconfirmed = (
                    _Unconfirmed(marks.end(), end, marks[1][-1] in _WIDE_MARKS) if end else None
                )
                self._scanned = marks.start()
                return
            if end:
                self._clauses.append(marks.end())
            if end is _End.SENTENCE:
                self._sentences.append(marks.end())
        self._scanned = len(text)

    @property
    def last_complete_sentence(self) -> int:
        """The end of the last sentence that is complete even if the text breaks off here; else 0."""
        if self._unconfirmed and self._unconfirmed.end is _End.SENTENCE:
            return self._unconfirmed.at
        return self._sentences[-1] if self._sentences else 0

    def first_clause(self, room: _Room) -> int | None:
        """The first clause end in the room, whether anything follows it or not."""
        index = bisect_left(self._clauses, room.lowest)
        if index < len(self._clauses):
            return room.fitting(self._clauses[index])
        return room.fitting(self._unconfirmed.at) if self._unconfirmed else None

    def last_clause(self, room: _Room) -> int | None:
        """The last clause end in the room that something follows."""
        return _last_in(self._clauses, room)

    def first_sentence(self, room: _Room) -> int | None:
        """The first sentence end in the room that white space follows, or that needs none."""
        index = bisect_left(self._sentences, room.lowest)
        if index < len(self._sentences):
            return room.fitting(self._sentences[index])
        return self.last_sentence(room)

    def last_sentence(self, room: _Room) -> int | None:
        """The last sentence end in the room that white space follows, or that needs none."""
        last = self._unconfirmed
        if last and last.is_wide and last.end is _End.SENTENCE and room.fitting(last.at):
            return last.at
        return _last_in(self._sentences, room)


def _last_in(ends: list[int], room: _Room) -> int | None:
    index = bisect_right(ends, room.highest) - 1
    return room.fitting(ends[index]) if index >= 0 else None


def _end_at(text: str, marks: re.Match[str], following: str) -> _End | None:
    """What ends at these punctuation marks, if that is certain; `following` is "" while unknown."""
    core, closing = marks.groups()
    last, before = core[-1], text[marks.start() - 1 : marks.start()]
    if last in _WIDE_MARKS:
        return _End.SENTENCE if last in _WIDE_SENTENCE_MARKS else _End.CLAUSE
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
    window = text[max(0, at - _LONGEST_WORD) : at]
    word = _BEFORE_WORD.split(window)[-1].lstrip("'")
    if not word or _ABBREVIATION.fullmatch(word):
        return False
    if word.isdigit():
        leading = window[: -len(word)].rstrip()
        return known and bool(leading) and leading[-1] not in _ENDING  # else an ordinal: "1. First"
    return known or bool(_PLAIN_WORD.fullmatch(word))


def _between_words(text: str, room: _Room) -> int:
    """The last place within the room to cut a text that does not end there."""
    for at in range(room.highest, max(room.lowest, room.start + 1) - 1, -1):
        in_number = text[at - 1].isdigit() and text[at + 1 : at + 2].isdigit()
        if text[at].isspace() and not in_number:
            return at
    for at in range(room.highest, room.start, -1):
        if not _joined(text[at - 1], text[at]):
            return at
    return room.highest


def _joined(left: str, right: str) -> bool:
    """Whether two characters belong to one word or to one written sign."""
    within_word = _WORD_CHARACTER.match(left) and _WORD_CHARACTER.match(right)
    return bool(within_word) or unicodedata.category(right).startswith("M")


def _can_be_spoken(text: str, start: int, end: int) -> bool:
    return bool(_SPEAKABLE.search(text, start, end))


_WIDE_SENTENCE_MARKS = "。！？｡"
_WIDE_MARKS = _WIDE_SENTENCE_MARKS + "、，；："
_CLOSING = r"\"'”’»)\]}」』）】》〉"
_ENDING = ".!?…,;:" + _WIDE_MARKS + "\"'”’»)]}」』）】》〉"

_MARKS = re.compile(rf"([.!?…,;:{_WIDE_MARKS}]+)([{_CLOSING}]*)")
_REMAINS = re.compile(rf"[.!?…,;:{_WIDE_MARKS}{_CLOSING}]*\s*")
_SPACE = re.compile(r"\s*")
_WORD_CHARACTER = re.compile(r"\w")
_SPEAKABLE = re.compile(r"[^\W_]")

_LONGEST_WORD = 24  # as far back as a full stop is judged by
_BEFORE_WORD = re.compile(r"[\s(\[{\"“‘«—–]")
_PLAIN_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['’-])*[^\W\d_]")
_ABBREVIATION = re.compile(
    r"[^\W\d_]|(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}"  # J. R. R., U.S., e.g., p.m., Ph.D.
    r"|Dr|Mrs?|Ms|Mx|Prof|Rev|Hon|Gov|Sen|Rep|Gen|Col|Capt|Lt|Sgt|Jr|Sr|St|Mt|Ave|Blvd|Rd"
    r"|Inc|Ltd|Co|Corp|Bros|Dept|Jan|Feb|Aug|Sept|Oct|Nov|Dec"
    r"|Nos?|[Ff]igs?|[Vv]ol|Ch|Sec|Eq|pp|vs|etc|approx|al|cf|ca|eg|ie|viz|resp|incl|excl|dept|est"
)
