"""Who speaks when: from what is heard of the client to turns, their responses, and interruptions."""

import asyncio
from collections.abc import Callable

from openai.types.realtime import (
    ConversationItemAdded,
    ConversationItemDone,
    InputAudioBufferCommittedEvent,
    InputAudioBufferSpeechStartedEvent,
    InputAudioBufferSpeechStoppedEvent,
    InputAudioBufferTimeoutTriggered,
    RealtimeResponseCreateParams,
)

from conversation.turn_detection import TurnDetection
from conversation.turn_recorder import TurnRecorder
from gateway.backend import Backend
from gateway.realtime.answering import Answering
from gateway.realtime.events import ProtocolError, new_id, server_event
from gateway.realtime.hearing import (
    Heard,
    Hearing,
    SpeechBegan,
    SpeechContinued,
    SpeechFinished,
    SpeechPaused,
)
from gateway.realtime.items import Item, Items, user_speech
from gateway.realtime.outbox import Outbox
from gateway.realtime.response import Asked, Response
from gateway.realtime.session_config import SessionConfig
from shared.payloads import Speech


class TurnTaking:
    """The turns of one session. As in `conversation.conversation`, a turn begins at the first pause, unsent,
    and is kept if the speaker has finished; but the player is the client's, which says what was played."""

    def __init__(
        self,
        config: SessionConfig,
        items: Items,
        outbox: Outbox,
        answering: Answering,
        backend: Backend,
    ) -> None:
        self._config, self._items, self._outbox, self._answering = config, items, outbox, answering
        self._turn_model, self._settings = backend.turn_model, backend.settings
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._hearing = Hearing(config.listening(), backend.new_vad, self._settings.max_audio_s, self._now)
        self._detection = self._turn_detection()
        self._item_id = ""  # of the utterance under way
        self._recorder: TurnRecorder | None = None
        self._speculation: Asked | None = None
        self._idle: asyncio.TimerHandle | None = None
        answering.on_response_over = self._response_over

    def configure(self) -> None:
        """The session's configuration has changed."""
        self._hearing.configure(self._config.input_format, self._config.listening())
        self._drop_speculation()  # it was asked otherwise
        self._detection = self._turn_detection()

    async def append(self, audio: str) -> None:
        """The client's next audio. Raises ProtocolError."""
        newest = self._answering.newest
        may_interrupt = newest is not None and (not newest.over or newest.played_until_s > self._now())
        async for heard in self._hearing.append(audio, at_once=may_interrupt):
            self._on_heard(heard)

    def commit(self) -> None:
        """The client says that what it has sent is a turn; it is not answered unasked.

        Raises ProtocolError if that is nothing.
        """
        audio = self._hearing.commit()
        self._detection.leave_pause()
        self._drop_speculation()
        if audio is None or audio.duration_s < self._settings.min_audio_s:
            message = "There is no audio to commit, or less than 0.1 s."
            raise ProtocolError(message, "input_audio_buffer_commit_empty")
        recorder = self._recorder or self._answering.recorder(self._now() - audio.duration_s)
        recorder.speech_ended(self._now())
        recorder.turn_certain()
        self._commit(audio, self._answering.ask(audio, recorder, transcribe_only=True))

    def clear(self) -> None:
        """Forget what has not been committed."""
        self._hearing.clear()
        self._detection.leave_pause()
        self._drop_speculation()
        self._item_id, self._recorder = "", None

    def close(self) -> None:
        """Nothing more is heard."""
        self.clear()
        self._stop_waiting()

    def _on_heard(self, heard: Heard) -> None:
        match heard:
            case SpeechBegan():
                self._began(heard)
            case SpeechContinued():
                self._detection.leave_pause()
                self._drop_speculation()
            case SpeechPaused():
                self._paused(heard)
            case SpeechFinished():
                self._finished(heard)

    def _began(self, heard: SpeechBegan) -> None:
        self._stop_waiting()
        self._item_id = new_id("item")
        self._recorder = self._answering.recorder(heard.began_s)
        self._outbox.put(
            server_event(
                InputAudioBufferSpeechStartedEvent, audio_start_ms=heard.start_ms, item_id=self._item_id
            )
        )
        if self._config.interrupts_response:
            self._answering.silence()
            self._answering.cancel("turn_detected")

    def _paused(self, heard: SpeechPaused) -> None:
        assert self._recorder
        self._recorder.speech_ended(heard.speech_end_s)
        self._detection.pause(heard.said)
        if self._answering.active:
            return
        shortest_s = self._detection.shortest_silence_s
        self._speculation = self._answering.ask(
            heard.question,
            self._recorder,
            transcribe_only=not self._config.creates_response,
            certain_after_s=max(0.0, shortest_s - self._settings.speculation_after_s),
        )

    def _finished(self, heard: SpeechFinished) -> None:
        recorder = self._recorder
        assert recorder
        recorder.speech_ended(heard.speech_end_s)
        recorder.turn_certain(None if heard.full else self._detection.ended_by)
        self._detection.leave_pause()
        self._outbox.put(
            server_event(InputAudioBufferSpeechStoppedEvent, audio_end_ms=heard.end_ms, item_id=self._item_id)
        )
        asked, self._speculation = self._speculation, None
        if not asked:
            answered = self._config.creates_response
            asked = self._answering.ask(heard.question, recorder, transcribe_only=not answered)
        self._commit(heard.question, asked)

    def _commit(self, question: Speech, asked: Asked) -> None:
        self._stop_waiting()
        item = user_speech(self._item_id or new_id("item"), question.duration_s)
        self._item_id, self._recorder = "", None
        previous_id = self._items.last_id
        try:
            self._items.add(item)
        except ProtocolError:
            self._answering.drop(asked)
            raise
        self._outbox.put(
            server_event(InputAudioBufferCommittedEvent, item_id=item.item_id, previous_item_id=previous_id)
        )
        self._emit_item(item, previous_id)
        self._answering.answer(asked, item)

    def _emit_item(self, item: Item, previous_id: str | None) -> None:
        for kind in (ConversationItemAdded, ConversationItemDone):
            self._outbox.put(server_event(kind, item=item.item, previous_item_id=previous_id))

    def _drop_speculation(self) -> None:
        if self._speculation:
            self._answering.drop(self._speculation)
            self._speculation = None

    def _turn_detection(self) -> TurnDetection:
        model = self._turn_model if self._config.asks_model else None
        settings = self._config.listening() or self._settings
        return TurnDetection(model, settings, self._answering.tasks, self._hearing.end_after)

    # Nobody says anything

    def _response_over(self, response: Response) -> None:
        idle_s = self._config.idle_timeout_s
        if idle_s is None or response is not self._answering.newest or self._answering.active:
            return
        left_s = max(0.0, response.played_until_s - self._now()) if response.end else 0.0
        self._stop_waiting()
        self._idle = asyncio.get_running_loop().call_later(left_s + idle_s, self._nobody_speaks, idle_s)

    def _nobody_speaks(self, idle_s: float) -> None:
        self._idle = None
        if self._hearing.in_utterance or self._answering.active:
            return
        item, end_ms = user_speech(new_id("item"), idle_s), self._hearing.position_ms
        item.set_transcript("")
        previous_id = self._items.last_id
        try:
            self._items.add(item)
        except ProtocolError:
            return
        start_ms = max(0, end_ms - round(idle_s * 1000))
        self._outbox.put(
            server_event(
                InputAudioBufferTimeoutTriggered,
                audio_start_ms=start_ms,
                audio_end_ms=end_ms,
                item_id=item.item_id,
            )
        )
        self._outbox.put(
            server_event(InputAudioBufferCommittedEvent, item_id=item.item_id, previous_item_id=previous_id)
        )
        self._emit_item(item, previous_id)
        self._answering.create(RealtimeResponseCreateParams())

    def _stop_waiting(self) -> None:
        if self._idle:
            self._idle.cancel()
            self._idle = None
