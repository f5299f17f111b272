"""The message of a response: the events of its text, or of its speech and words."""

from typing import Any

from openai.types.realtime import (
    RealtimeConversationItemAssistantMessage,
    ResponseAudioDeltaEvent,
    ResponseAudioDoneEvent,
    ResponseAudioTranscriptDeltaEvent,
    ResponseAudioTranscriptDoneEvent,
    ResponseContentPartAddedEvent,
    ResponseContentPartDoneEvent,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
)
from openai.types.realtime.realtime_conversation_item_assistant_message import Content

from conversation.memory import SpokenSegment
from gateway.realtime.audio import OutputAudio
from gateway.realtime.events import new_id, server_event
from gateway.realtime.items import Item
from gateway.realtime.outbox import Outbox
from shared.turn import SpeechChunk


class MessageOutput:
    """One message under way. `audio` is None where the response is text alone."""

    def __init__(
        self, outbox: Outbox, response_id: str, output_index: int, audio: OutputAudio | None
    ) -> None:
        self._outbox = outbox
        self._response_id = response_id
        self._audio = audio
        self._text = ""
        message = RealtimeConversationItemAssistantMessage(
            id=new_id("item"),
            object="realtime.item",
            type="message",
            role="assistant",
            status="in_progress",
            content=[],
        )
        self.item = Item(message, complete=False)
        self._place = {
            "response_id": response_id,
            "item_id": self.item.item_id,
            "output_index": output_index,
            "content_index": 0,
        }

    def begin(self) -> None:
        """Emit that its one part begins."""
        part = {"type": "audio", "transcript": ""} if self._audio else {"type": "text", "text": ""}
        self._put(ResponseContentPartAddedEvent, part=part)

    def write(self, text: str) -> None:
        """Emit the next words."""
        self._text += text
        kind = ResponseAudioTranscriptDeltaEvent if self._audio else ResponseTextDeltaEvent
        self._put(kind, delta=text)
        self.item.item = self.item.item.model_copy(update={"content": [self._content()]})

    def speak(self, chunk: SpeechChunk) -> None:
        """Remember what this segment says."""
        assert self._audio, "it is spoken"
        duration_s = chunk.audio.duration_s / self._audio.speed
        self.item.segments.append(SpokenSegment(chunk.index, chunk.text, duration_s, duration_s))

    def play(self, piece: str) -> None:
        """Emit the next piece of speech."""
        self._put(ResponseAudioDeltaEvent, audio_of=self._response_id, delta=piece)

    def end(self, *, complete: bool) -> None:
        """Emit its end. `complete`: nothing was cut off."""
        self.item.complete = complete
        status = "completed" if complete else "incomplete"
        changes = {"status": status, "content": [self._content()]}
        self.item.item = self.item.item.model_copy(update=changes)
        if self._audio:
            self._put(ResponseAudioDoneEvent)
            self._put(ResponseAudioTranscriptDoneEvent, transcript=self._text)
            part = {"type": "audio", "transcript": self._text}
        else:
            self._put(ResponseTextDoneEvent, text=self._text)
            part = {"type": "text", "text": self._text}
        self._put(ResponseContentPartDoneEvent, part=part)

    def _content(self) -> Content:
        if self._audio:
            return Content(type="output_audio", transcript=self._text)
        return Content(type="output_text", text=self._text)

    def _put(self, kind: Any, *, audio_of: str | None = None, **fields: Any) -> None:
        self._outbox.put(server_event(kind, **self._place, **fields), audio_of=audio_of)
