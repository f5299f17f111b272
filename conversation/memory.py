"""What the assistant knows of the conversation so far: what was said, and of its replies what was heard."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.payloads import MAX_TEXT_CHARACTERS, ChatMessage

BROKEN_OFF = " …"
"""Behind what was heard of a reply that was interrupted."""


@dataclass(frozen=True)
class SpokenPiece:
    """A piece of a reply's speech: of which chunk, what the whole chunk says, and how much of the piece was
    heard, in samples."""

    index: int
    text: str
    num_samples: int
    heard_samples: int


class ConversationMemory:
    """The newest messages, for the next request. People and the assistant take turns in it: what somebody
    says before an answer was heard joins what they said before."""

    def __init__(self, max_messages: int) -> None:
        self._max_messages = max_messages
        self._messages: list[ChatMessage] = []

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        """Oldest first, for `TurnRequest.conversation`."""
        return tuple(self._messages[-self._max_messages :] if self._max_messages else ())

    def add(self, said: str, heard: str) -> None:
        """A turn is over: what the person said, and what they heard of the reply ("" for nothing)."""
        if self._messages and self._messages[-1].role == "user":
            said = f"{self._messages.pop().content} {said}".strip()
        if said:
            self._messages.append(ChatMessage(role="user", content=said[-MAX_TEXT_CHARACTERS:]))
        if said and heard:
            self._messages.append(ChatMessage(role="assistant", content=heard))
        self._messages = list(self.messages)


def heard_text(pieces: Sequence[SpokenPiece]) -> str:
    """What was heard of a reply: its chunks, of the last one so many words as its part of the chunk's speech.

    Words take about equally long, so that one more or less may have been heard.
    """
    heard: list[str] = []
    for index in dict.fromkeys(piece.index for piece in pieces):
        chunk = [piece for piece in pieces if piece.index == index]
        samples = sum(piece.num_samples for piece in chunk)
        part = sum(piece.heard_samples for piece in chunk) / samples if samples else 1.0
        words = chunk[0].text.split()
        heard += words[: int(part * len(words))]
        if part < 1.0:
            return " ".join(heard) + BROKEN_OFF if heard else ""
    return " ".join(heard)
