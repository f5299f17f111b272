"""Any text, in any split, pulled at any time."""

import asyncio
import re
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.chunker import Chunker
from orchestrator.speakable import SpeakableText
from tests.support.chunks import (
    a_chunker,
    the_rest,
)

WORDS = re.compile(r"\w+")

_ATOMS = [
    "Hello", "word", "the", "I", "Dr", "Mr", "e.g", "U.S", "p.m", "etc", "J", "v1.2.3", "3.14", "1,000",
    "10:30", "1999", "2", "example.com", "https://x.org/a", "me@x.org", "don't", "well-known", "é",
    "e\u0301e\u0301", "你好", "今日はいい天気", "snake_case", "[clear_throat]", "x" * 45, "ab-" * 20,
    "1 2 3 4 5 6 7 8 9 0 " * 2, ".", ". ", "! ", "? ", ", ", "; ", ": ", "... ", "…", ".”", '." ',
    "!", "?", ",", ":", "。", "！", "，", "」", '"', "'", "(", ")", "—", " - ", " ", "  ", "\n", "\n\n",
    "\n- ", "\n1. ", "**", "*", "_", "`", "# ", "[a](b)", "<b>", "🎉", "👩‍👧", "!" * 30, "\u00a0",
    "\u200d", "\t",
]  # fmt: skip

reply = st.one_of(
    st.lists(st.sampled_from(_ATOMS), max_size=60).map("".join),
    st.lists(st.sampled_from(_ATOMS), max_size=60).map(" ".join),
    st.text(max_size=200),
)
steps = st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["write", "pull", "cancel"])), max_size=40)
bounds = st.tuples(st.integers(1, 12), st.integers(20, 60), st.integers(1, 25), st.integers(30, 90))


class Conversation:
    """Plays writes and pulls against one chunker, with at most one pull under way."""

    def __init__(self, chunker: Chunker) -> None:
        self.chunks: list[str] = []
        self._chunker = chunker
        self._pull: asyncio.Future[str | None] | None = None

    async def play(self, text: str, steps: list[tuple[int, str]]) -> None:
        for length, action in steps:
            delta, text = text[:length], text[length:]
            if delta:
                self._chunker.write(delta)
            await self._act(action)
        self._chunker.write(text)
        self._chunker.close()
        await self._finish()

    async def _act(self, action: str) -> None:
        if action == "pull":
            self._pull = self._pull or asyncio.ensure_future(self._chunker.next_chunk())
            await asyncio.sleep(0)
        if self._pull and action == "cancel":
            self._pull.cancel()
            await asyncio.wait([self._pull])
        self._collect()

    def _collect(self) -> None:
        if self._pull and self._pull.done():
            if not self._pull.cancelled():
                self.chunks.append(self._pull.result() or "")
            self._pull = None

    async def _finish(self) -> None:
        if self._pull and (chunk := await self._pull) is not None:
            self.chunks.append(chunk)
        self.chunks += await the_rest(self._chunker)


@given(reply)
@settings(max_examples=200)
def test_the_split_into_deltas_makes_no_difference_to_a_reader_who_comes_later(text: str) -> None:
    async def play(*deltas: str) -> list[str]:
        chunker = a_chunker(max_first=50, max_later=80)
        for delta in deltas:
            chunker.write(delta)
        chunker.close()
        return await the_rest(chunker)

    assert asyncio.run(play(*text)) == asyncio.run(play(text))


def assert_words_are_those_of(text: str, chunks: list[str], longest: list[int]) -> None:
    """None lost, repeated or reordered, and none cut in two unless it is longer than a chunk may be."""
    spoken = SpeakableText()
    words = WORDS.findall(spoken.feed(text) + spoken.finish())
    pieces = [(piece, longest[i]) for i, chunk in enumerate(chunks) for piece in WORDS.findall(chunk)]
    pieces.reverse()
    for word in words:
        piece, limit = pieces.pop()
        while piece != word:
            assert word.startswith(piece)
            assert len(word) > limit
            following, limit = pieces.pop()
            piece += following
    assert not pieces


@given(reply, steps, bounds, st.sampled_from([1.0, 3.0, float("inf")]))
@example("ab " + "x" * 70 + ". Yes.", [], (1, 20, 25, 80), 3.0)
@settings(max_examples=400)
def test_any_text_is_chunked_within_the_bounds_and_without_loss(
    text: str, steps: list[tuple[int, str]], bounds: tuple[int, int, int, int], growth: float
) -> None:
    min_first, max_first, min_later, max_later = bounds

    async def play() -> list[str]:
        conversation = Conversation(
            Chunker(
                min_first=min_first,
                max_first=max_first,
                min_later=min_later,
                max_later=max_later,
                max_growth=growth,
            )
        )
        await conversation.play(text, steps)
        return conversation.chunks

    chunks = asyncio.run(play())
    longest = [max_first] + [max_later] * len(chunks)
    assert_words_are_those_of(text, chunks, longest)
    for chunk, limit in zip(chunks, longest, strict=False):
        assert chunk == chunk.strip()
        assert WORDS.search(chunk)
        assert len(chunk) <= limit
    shortest = [min_first] + [min_later] * len(chunks)
    for (chunk, following), least, limit in zip(pairwise(chunks), shortest, longest, strict=False):
        word = following.split()[0]
        does_not_fit = len(chunk) + 1 + len(word) > limit or len(word) == max_later
        assert len(chunk) >= least or does_not_fit
