"""The items of a conversation, in order, and what the LLM gets of them."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from openai.types.realtime import (
    ConversationItem,
    RealtimeConversationItemAssistantMessage,
    RealtimeConversationItemFunctionCall,
    RealtimeConversationItemFunctionCallOutput,
    RealtimeConversationItemSystemMessage,
    RealtimeConversationItemUserMessage,
)
from openai.types.realtime.realtime_conversation_item_user_message import Content as UserContent

from conversation.memory import SpokenSegment, played_text
from gateway.realtime.events import ProtocolError, new_id
from shared.errors import BadRequest
from shared.payloads import MAX_TEXT_CHARACTERS, ChatMessage, ToolCall

_Call = RealtimeConversationItemFunctionCall
_Output = RealtimeConversationItemFunctionCallOutput

Known = (
    RealtimeConversationItemSystemMessage
    | RealtimeConversationItemUserMessage
    | RealtimeConversationItemAssistantMessage
    | RealtimeConversationItemFunctionCall
    | RealtimeConversationItemFunctionCallOutput
)
"""The items that there are here; those of MCP are not."""

_SPOKEN = {"input_audio", "output_audio"}

BEGIN = "root"
"""As `previous_item_id`: before all others."""
GO_ON = "Please go on."
"""What the user is taken to have said where a reply is asked for and nobody has asked anything: chat
templates want a question."""


@dataclass(eq=False)
class Item:
    """One item: the protocol's, and what is known beside it."""

    item: Known
    transcribed: asyncio.Event | None = None
    """Set when its transcript has come, or cannot come; None where there is none to come."""
    spoken_s: float = 0.0
    """How long the audio of a person's speech is."""
    segments: list[SpokenSegment] = field(default_factory=list)
    """Of the assistant's speech, each as if played to completion."""
    played_s: float | None = None
    """How much of it was played; None for all."""
    complete: bool = True
    """Whether no speech of it is to come."""

    @property
    def item_id(self) -> str:
        """Its identifier."""
        assert self.item.id
        return self.item.id

    @property
    def duration_s(self) -> float:
        """How long its speech is."""
        return sum(segment.duration_s for segment in self.segments)

    def set_transcript(self, text: str) -> None:
        """This is what was said, or played."""
        assert not isinstance(self.item, _Call | _Output)
        parts = [
            part.model_copy(update={"transcript": text}) if part.type in _SPOKEN else part
            for part in self.item.content
        ]
        self.item = self.item.model_copy(update={"content": parts})
        if self.transcribed:
            self.transcribed.set()

    def played(self) -> str:
        """The text of what was played of its speech."""
        left_s = self.duration_s if self.played_s is None else self.played_s
        segments = []
        for one in self.segments:
            played_s = min(one.duration_s, max(0.0, left_s))
            left_s -= one.duration_s
            segments.append(SpokenSegment(one.index, one.text, one.duration_s, played_s))
        return played_text(segments, complete=self.complete)


def user_speech(item_id: str, spoken_s: float) -> Item:
    """What a person says, before it is transcribed."""
    content = UserContent(type="input_audio", transcript=None)
    message = RealtimeConversationItemUserMessage(
        id=item_id, object="realtime.item", type="message", role="user", status="completed", content=[content]
    )
    return Item(message, transcribed=asyncio.Event(), spoken_s=spoken_s)


class Items:
    """The items of one conversation. At most `max_items`, and texts up to `max_characters` in all."""

    def __init__(self, max_items: int, max_characters: int) -> None:
        self.conversation_id = new_id("conv")
        self._items: list[Item] = []
        self._max_items, self._max_characters = max_items, max_characters

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def get(self, item_id: str, code: str = "item_not_found") -> Item:
        """The item of this id. Raises ProtocolError if there is none."""
        for one in self._items:
            if one.item_id == item_id:
                return one
        raise ProtocolError(f"There is no item with the id {item_id[:64]!r}.", code, param="item_id")

    def previous_id(self, item: Item) -> str | None:
        """The id of the item before."""
        at = self._items.index(item)
        return self._items[at - 1].item_id if at else None

    @property
    def last_id(self) -> str | None:
        """The id of the newest item."""
        return self._items[-1].item_id if self._items else None

    def add(self, item: Item, after: str | None = None) -> None:
        """Add an item: at the end, or behind the item of the id `after` (BEGIN: before all).

        Raises ProtocolError if there is no such item, or no room.
        """
        if any(one.item_id == item.item_id for one in self._items):
            raise ProtocolError("There is an item with this id.", "item_already_exists", param="item.id")
        characters = sum(_size(one) for one in self._items) + _size(item)
        if len(self._items) >= self._max_items or characters > self._max_characters:
            raise ProtocolError(
                "The conversation is full: delete items, or begin another session.", "too_large"
            )
        at = len(self._items)
        if after is not None:
            at = 0 if after == BEGIN else self._items.index(self.get(after)) + 1
        self._items.insert(at, item)

    def delete(self, item_id: str) -> None:
        """Forget an item. Raises ProtocolError if there is none."""
        self._items.remove(self.get(item_id, "item_delete_invalid_item_id"))


def new_item(item: ConversationItem) -> Item:
    """An item that a client creates. Raises ProtocolError if it is of a kind that there is not here."""
    if not isinstance(item, Known):
        raise ProtocolError(f"Items of type {item.type} cannot be used here.", param="item.type")
    chosen: dict[str, Any] = {
        "id": item.id or new_id("item"),
        "object": "realtime.item",
        "status": "completed",
    }
    transcribed = None
    if isinstance(item, _Call):
        _call(item.call_id or "", item.name, item.arguments)
    elif isinstance(item, RealtimeConversationItemUserMessage) and audio_of(item):
        chosen["content"] = [_without_audio(part) for part in item.content]
        transcribed = asyncio.Event()
    return Item(item.model_copy(update=chosen), transcribed)


def audio_of(item: ConversationItem) -> str:
    """The audio of a person's message that has no transcript, in base64; "" if there is none."""
    if not isinstance(item, RealtimeConversationItemUserMessage):
        return ""
    return "".join(part.audio or "" for part in item.content if not part.transcript)


def _without_audio(part: UserContent) -> UserContent:
    if part.audio is None:
        return part
    return UserContent(type="input_audio", transcript=part.transcript)


def messages_of(items: Iterable[Item]) -> tuple[ChatMessage, ...]:
    """These items as messages. Calls of tools without a result are left out, and results without a call."""
    items = list(items)
    answered = {one.item.call_id for one in items if isinstance(one.item, _Output)}
    called = {one.item.call_id for one in items if isinstance(one.item, _Call)}
    messages: list[ChatMessage] = []
    for one in items:
        match one.item:
            case RealtimeConversationItemFunctionCall(call_id=call_id, name=name, arguments=arguments):
                if call_id in answered:
                    _add(messages, "assistant", "", _call(call_id or "", name, arguments))
            case RealtimeConversationItemFunctionCallOutput(call_id=call_id, output=output):
                if call_id in called:
                    content = output[:MAX_TEXT_CHARACTERS]
                    messages.append(ChatMessage(role="tool", content=content, tool_call_id=call_id))
            case _:
                _add(messages, one.item.role, text_of(one))
    return tuple(messages)


def _call(call_id: str, name: str, arguments: str) -> ToolCall:
    try:
        return ToolCall.checked(call_id=call_id, name=name, arguments=arguments or "{}")
    except BadRequest as error:
        raise ProtocolError(error.message, param="item") from None


def _add(messages: list[ChatMessage], role: str, content: str, call: ToolCall | None = None) -> None:
    """Add a message, or its text to the last one of the same role."""
    calls: tuple[ToolCall, ...] = (call,) if call else ()
    if not content and not calls:
        return
    if messages and messages[-1].role == role:
        last = messages.pop()
        content = f"{last.content} {content}".strip()[-MAX_TEXT_CHARACTERS:]
        calls = last.tool_calls + calls
    messages.append(ChatMessage.checked(role=role, content=content[-MAX_TEXT_CHARACTERS:], tool_calls=calls))


def text_of(item: Item) -> str:
    """The text of a message: what was written, said, or played."""
    if isinstance(item.item, _Call | _Output):
        return ""
    if item.segments:
        return item.played()
    parts = (getattr(part, "text", None) or getattr(part, "transcript", None) for part in item.item.content)
    return " ".join(part for part in parts if part)


def _size(item: Item) -> int:
    if isinstance(item.item, _Call):
        return len(item.item.arguments)
    if isinstance(item.item, _Output):
        return len(item.item.output)
    return len(text_of(item))
