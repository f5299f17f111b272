"""A spoken conversation: it listens, answers, and lets itself be interrupted."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from client.audio.microphone import Microphone
from client.audio.playback_buffer import PieceHeard
from client.audio.speaker import Speaker
from client.metrics.session import Session
from client.metrics.turn_book import TurnBook
from client.metrics.turn_record import TurnRecord
from client.turn_source import TurnSource
from conversation.barge_in import BargeInEvent
from conversation.listener import (
    Heard,
    Listener,
    UtteranceBegan,
    UtteranceDropped,
    UtteranceFinished,
    UtterancePaused,
    UtteranceResumed,
)
from conversation.memory import ConversationMemory, SpokenPiece, heard_text
from conversation.reply import Reply
from shared.audio.decode import to_pcm
from shared.audio.pcm import Pcm
from shared.errors import SpeechError
from shared.payloads import Mp3Audio
from shared.settings import Settings
from shared.turn import SpeechChunk, TurnEnd, TurnEvent, TurnRequest


@dataclass
class SpokenTurn:
    """A turn that is over: what was said, what was answered, and what of it was heard."""

    record: TurnRecord
    question: Mp3Audio
    transcript: str
    reply: str
    heard: str
    speech: list[Pcm]


class TalkDisplay(Protocol):
    """Shows a conversation."""

    def listening(self, level: float) -> None:
        """Nobody speaks; the microphone's level is from 0 to 1."""

    def hearing(self, level: float) -> None:
        """Somebody speaks."""

    def tell(self, event: TurnEvent) -> None:
        """This happens in the turn that is being answered."""

    def speaking(self, level: float, *, paused: bool) -> None:
        """The reply is being worked on or heard, or paused since somebody makes a sound."""

    def turn_over(self, turn: SpokenTurn) -> None:
        """This came of it."""


@dataclass
class _Answer:
    """The reply that is being heard, and the book of its turn."""

    reply: Reply
    book: TurnBook
    chunks: list[SpeechChunk] = field(default_factory=list)
    paused: bool = False


class Talk:
    """One conversation over one microphone and one speaker, from `run` to its end.

    Where `speculative`, a turn begins at the first pause, unheard, and is kept if the speaker has finished.
    """

    def __init__(
        self,
        turns: TurnSource,
        microphone: Microphone,
        speaker: Speaker,
        session: Session,
        display: TalkDisplay,
        settings: Settings,
        *,
        listener: Listener,
        speculative: bool = True,
        system_prompt: str | None = None,
        on_turn: Callable[[SpokenTurn], None] = lambda _: None,
    ) -> None:
        self._turns = turns
        self._microphone = microphone
        self._speaker = speaker
        self._session = session
        self._display = display
        self._settings = settings
        self._listener = listener
        self._speculative = speculative
        self._asked = {} if system_prompt is None else {"system_prompt": system_prompt}
        self._on_turn = on_turn
        self._memory = ConversationMemory(settings.max_conversation_messages)
        self._book: TurnBook | None = None  # of the utterance that is being said
        self._speculation: Reply | None = None
        self._answer: _Answer | None = None
        self._underruns = 0
        self._stopping: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Talk until the microphone has ended and the last reply has been heard, or until cancelled."""
        try:
            async for window in self._microphone:
                for heard in self._listener.hear(window):
                    self._on(heard)
                self._look_after_answer()
                self._show()
                if self._microphone.ended and not self._answer and not self._listener.is_hearing:
                    return
        finally:
            await self._end()

    async def _end(self) -> None:
        self._drop_speculation()
        if self._answer:
            self._give_up(self._answer)
        self._listener.close()
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def _on(self, heard: Heard) -> None:
        match heard:
            case UtteranceBegan(at_s):
                self._book = self._session.new_turn(at_s)
            case UtteranceFinished():
                self._finished(heard)
            case UtterancePaused():
                self._paused(heard)
            case UtteranceResumed():
                self._drop_speculation()
            case UtteranceDropped():
                self._drop_utterance()
            case BargeInEvent():
                self._barged(heard)

    def _paused(self, utterance: UtterancePaused) -> None:
        assert self._book
        self._book.speech_ended(utterance.speech_end_s)
        if self._speculative and not self._answer:
            settings = self._settings
            until_certain_s = max(0.0, settings.end_of_turn_silence_s - settings.speculation_after_s)
            self._speculation = self._ask(self._book, utterance.audio, second_chunk_after_s=until_certain_s)

    def _finished(self, utterance: UtteranceFinished) -> None:
        book, self._book = self._book, None
        assert book
        book.speech_ended(utterance.speech_end_s)
        if self._answer:  # an utterance as long as can be, over a reply
            self._give_up(self._answer)
        book.turn_certain()
        reply, self._speculation = self._speculation or self._ask(book, utterance.audio), None
        self._answer = _Answer(reply, book)
        self._listener.reply_begins()
        reply.release()

    def _ask(self, book: TurnBook, audio: Mp3Audio, *, second_chunk_after_s: float = 0.0) -> Reply:
        request = TurnRequest(
            audio=audio,
            conversation=self._memory.messages,
            session_id=self._session.session_id,
            speculative=second_chunk_after_s > 0.0,
            second_chunk_after_s=second_chunk_after_s,
            **self._asked,
        )
        book.request_sent(request)
        return Reply(self._turns, request, noted=book.told, told=self._tell)

    def _drop_speculation(self) -> None:
        if self._speculation:
            assert self._book
            self._book.speculation_dropped()
            self._stop(self._speculation)
            self._speculation = None

    def _drop_utterance(self) -> None:
        self._drop_speculation()
        self._book = None

    def _barged(self, event: BargeInEvent) -> None:
        answer = self._answer
        assert answer, "only a reply is interrupted"
        match event:
            case BargeInEvent.PAUSE:
                answer.paused = True
                self._speaker.pause()
            case BargeInEvent.RESUME:
                answer.paused = False
                self._drop_utterance()
                self._speaker.resume()
            case BargeInEvent.INTERRUPT:
                self._give_up(answer)

    def _tell(self, event: TurnEvent) -> None:
        """The answer's events, now that it is certain."""
        self._display.tell(event)
        if isinstance(event, SpeechChunk) and self._answer:
            self._speaker.play(to_pcm(event.audio))
            self._answer.chunks.append(event)
        if isinstance(event, TurnEnd):
            self._speaker.end_reply()

    def _look_after_answer(self) -> None:
        if not (answer := self._answer):
            return
        if answer.reply.ended:
            self._speaker.end_reply()
            if self._speaker.done:
                self._over(answer, interrupted=False)

    def _give_up(self, answer: _Answer) -> None:
        self._stop(answer.reply)
        self._over(answer, interrupted=True)

    def _over(self, answer: _Answer, *, interrupted: bool) -> None:
        """The reply has been heard, or will not be."""
        self._answer = None
        self._listener.reply_ended()
        if answer.reply.error:
            answer.book.failed(answer.reply.error)
        turn = self._spoken_turn(answer, interrupted=interrupted)
        self._memory.add(turn.transcript, turn.heard)
        self._session.add(turn.record)
        self._display.turn_over(turn)
        self._on_turn(turn)

    def _spoken_turn(self, answer: _Answer, *, interrupted: bool) -> SpokenTurn:
        if (first_sound_s := self._speaker.first_sound_at_s) is not None:
            answer.book.first_sound(first_sound_s)
        pieces = [
            SpokenPiece(chunk.index, chunk.text, piece.num_samples, piece.heard_samples)
            for chunk, piece in zip(answer.chunks, self._silenced(), strict=True)
        ]
        heard_s = sum(piece.heard_samples for piece in pieces) / self._speaker.sample_rate_hz
        underruns, self._underruns = self._speaker.underruns - self._underruns, self._speaker.underruns
        question = answer.reply.request.audio
        assert isinstance(question, Mp3Audio), "that is what was asked with"
        return SpokenTurn(
            record=answer.book.record(interrupted=interrupted, heard_s=heard_s, underruns=underruns),
            question=question,
            transcript=answer.reply.transcript,
            reply=" ".join({chunk.index: chunk.text for chunk in answer.chunks}.values()),
            heard=heard_text(pieces),
            speech=[to_pcm(chunk.audio) for chunk in answer.chunks],
        )

    def _silenced(self) -> tuple[PieceHeard, ...]:
        """What has been heard of the reply. A speaker that is broken says nothing anyway."""
        try:
            return self._speaker.clear()
        except SpeechError:
            return self._speaker.heard()

    def _stop(self, reply: Reply) -> None:
        stopping = reply.cancel()
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    def _show(self) -> None:
        level = self._listener.level
        if self._answer:
            self._display.speaking(level, paused=self._answer.paused)
        elif self._listener.is_hearing:
            self._display.hearing(level)
        else:
            self._display.listening(level)
