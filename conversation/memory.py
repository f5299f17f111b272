"""What the LLM is to know of the conversation so far: what was said, and of the replies what was played."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from shared.payloads import MAX_TEXT_CHARACTERS, ChatMessage

BROKEN_OFF = " …"
"""Follows what was played of a reply that was interrupted."""
USUAL_S_PER_CHARACTER = 0.06
"""Of speech, where nothing complete of the reply says how fast its voice is: 150 to 180 words a minute."""


@dataclass(frozen=True)
class SpokenSegment:
    """An audio segment of a reply: its chunk's index and text, its length and how much of it was played."""

    index: int
    text: str
    duration_s: float
    played_s: float


class ConversationMemory:
    """The newest messages, for the next request: user and assistant alternate, beginning with the user.

    What somebody says before any reply was played joins what they said before.
    """

    def __init__(self, max_messages: int) -> None:
        self._max_messages = max_messages
        self._messages: list[ChatMessage] = []
        self.to_come: asyncio.Task[None] | None = None
        """Adds a turn whose transcript has not come yet."""

    async def complete(self) -> None:
        """Wait for the turn that is to come, if any."""
        if self.to_come:
            await asyncio.shield(self.to_come)

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        """Oldest first, for `TurnRequest.conversation`."""
        newest = self._messages[-self._max_messages :] if self._max_messages else []
        return tuple(newest[1:] if newest and newest[0].role == "assistant" else newest)

    def add(self, transcript: str, played: str) -> None:
        """Add a turn: what the person said, and what was played of the reply ("" for nothing)."""
        if self._messages and self._messages[-1].role == "user":
            transcript = f"{self._messages.pop().content} {transcript}".strip()
        if transcript:
            self._messages.append(ChatMessage(role="user", content=transcript[-MAX_TEXT_CHARACTERS:]))
        if transcript and played:
            self._messages.append(ChatMessage(role="assistant", content=played))
        self._messages = list(self.messages)


def played_text(segments: Sequence[SpokenSegment], *, complete: bool) -> str:
    """What was played of a reply: of the last chunk as many words as were played of its speech.

    Words take about equally long, so this may be off by one. Unless the reply is `complete`, more segments of
    its last chunk may have been to come: then the voice's speed so far says how long the chunk's speech is.
    """
    chunks = [list(chunk) for _, chunk in groupby(segments, key=lambda one: one.index)]
    spoken, characters, words = 0.0, 0, list[str]()
    for number, chunk in enumerate(chunks, start=1):
        text = chunk[0].text
        duration_s = sum(one.duration_s for one in chunk)
        if number == len(chunks) and not complete:
            s_per_character = spoken / characters if characters else USUAL_S_PER_CHARACTER
            duration_s = max(duration_s, s_per_character * len(text))
        spoken, characters = spoken + duration_s, characters + len(text)
        played = min(1.0, sum(one.played_s for one in chunk) / duration_s) if duration_s else 1.0
        words += text.split()[: int(played * len(text.split()))]
        if played < 1.0:
            complete = False
            break
    return " ".join(words) + ("" if complete or not words else BROKEN_OFF)
