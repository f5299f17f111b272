"""Cuts an LLM's text, as it comes, into chunks that a TTS engine synthesizes one after another.

The reader pulls. The first chunk is the first clause, returned without waiting for another token to
confirm that it has ended; each later one holds all complete sentences that have gathered meanwhile.
"""

import asyncio
import re
from typing import Self

from orchestrator.speakable import SpeakableText
from shared.sentences import CLOSING, MARKS, Boundaries, has_words
from shared.settings import Settings


class Chunker:
    """Cuts one reply. One writer and one reader, on the same event loop.

    The bounds are in characters: `min_first` and `max_first` for the first chunk, `min_later` and
    `max_later` for the others. A chunk is shorter than its minimum only at the end of the text, or
    where what follows does not fit. Words stay whole unless one is longer than the maximum. Every chunk
    has a letter or digit. A chunk gathers sentences up to `max_growth` times the length of the chunk
    before, since it is synthesized while that one plays.
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
        self._text = ""  # all speakable text so far
        self._start = 0  # where in it the next chunk begins
        self._is_first = True
        self._cut_glued = False  # self._start has no white space before it
        self._boundaries = Boundaries()
        self._ended = False
        self._error: Exception | None = None
        self._ready = asyncio.Event()  # a chunk is complete, or the text has ended

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """A chunker with the bounds of the settings."""
        return cls(
            min_first=settings.min_first_chunk_characters,
            max_first=settings.max_first_chunk_characters,
            min_later=settings.min_chunk_characters,
            max_later=settings.max_chunk_characters,
            max_growth=settings.max_chunk_growth,
        )

    def write(self, delta: str) -> None:
        """Add text as the LLM wrote it."""
        if self._ended:
            raise RuntimeError("The text has ended: nothing can be written to it.")
        if spoken := self._filter.feed(delta):
            self._text += spoken
            if not self._ready.is_set() and self._chunk_end() is not None:
                self._ready.set()

    def close(self) -> None:
        """End the text, which is complete. Without effect if it has ended before."""
        if not self._ended:
            self._text += self._filter.finish()
            self._end()

    def fail(self, error: Exception) -> None:
        """End the text, which broke off: next_chunk returns its complete sentences, then raises `error`.

        Without effect if the text has ended before.
        """
        if not self._ended:
            self._text += self._filter.finish()
            self._boundaries.scan(self._text, ended=False)
            self._text = self._text[: max(self._start, self._boundaries.last_complete_sentence)]
            self._boundaries = Boundaries()
            self._error = error
            self._end()

    @property
    def is_done(self) -> bool:
        """Whether the text has ended and all of it has been returned."""
        return self._ended and not self._text[self._start :].strip()

    async def next_chunk(self) -> str | None:
        """The next chunk once it is complete, None at the end. Cancelling it loses no text."""
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
        """Where the next chunk ends, if it is complete."""
        ends = self._boundaries
        ends.scan(self._text, ended=self._ended)
        self._skip_remains()
        shortest, longest = self._first_bounds if self._is_first else self._later_bounds
        lowest, highest = self._start + shortest, self._start + longest
        if self._is_first:
            end = ends.clauses.first(lowest, highest) or self._end_of_text(highest)
        else:
            grown = int(min(highest, self._start + max(shortest, self._max_growth * self._last_length)))
            end = (
                self._end_of_text(grown)
                or ends.sentences.last(lowest, grown)
                or ends.sentences.first(lowest, highest)
                or self._end_of_text(highest)
            )
        if end is None and len(self._text) > highest:
            return ends.last_fitting(self._text, self._start, lowest, highest)
        return end

    def _end_of_text(self, highest: int) -> int | None:
        fits = self._start < len(self._text) <= highest
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
        if not has_words(self._text[start:end]):
            return ""
        self._is_first = False
        self._last_length = end - start
        return self._text[start:end].strip()


_REMAINS = re.compile(rf"[{re.escape(MARKS + CLOSING)}]*\s*")
_SPACE = re.compile(r"\s*")
