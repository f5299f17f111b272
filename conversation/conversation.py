"""A spoken conversation: who speaks when, from the microphone's frames to turns and back to a player."""

import asyncio
from collections.abc import AsyncIterable, Callable
from contextlib import ExitStack
from enum import Enum
from uuid import uuid4

from conversation.audio import Frame, Player, SegmentPlayed
from conversation.barge_in import BargeInEvent
from conversation.endpointing import (
    PauseReached,
    SpeechDropped,
    SpeechResumed,
    SpeechStarted,
    UtteranceEnded,
)
from conversation.listener import Listener, ListeningEvent
from conversation.memory import ConversationMemory
from conversation.reply import OnEvent, Reply, SpokenTurn, TurnSource
from conversation.short_sound import ShortSounds
from conversation.speculation import Asking
from conversation.tasks import Tasks
from conversation.turn_detection import HEARD_S, TurnDetection, TurnModel
from conversation.turn_recorder import TurnRecorder
from conversation.vad import OwnVad, Vad
from shared.audio.decode import to_pcm
from shared.settings import Settings
from shared.turn import SpeechChunk, TurnEnd, TurnEvent


class Phase(Enum):
    """What is going on, for a display."""

    LISTENING = "listening"
    HEARING = "hearing"  # somebody speaks
    THINKING = "thinking"  # a reply is on its way
    SPEAKING = "speaking"
    PAUSED = "paused"  # a reply is, since somebody makes a sound


class Conversation:
    """One conversation over one stream of frames and one player.

    A reply can be interrupted once it is audible. Before that, new speech extends the question: the request
    is cancelled, and the next one has all that was said, so that nothing is lost.

    If `speculative`, a turn begins at the first pause, inaudibly, and is kept if the speaker has finished.

    Args:
        vad: finds speech in the frames; None for a detector of its own, on the event loop.
        turn_model: sets how long a silence ends a turn; None for always the same.
        lag_s: how long audio takes from the microphone to `run`.
        on_phase: called for every frame, with its level from 0 to 1.
        on_event: called with the events of turns whose speaker has finished.
        on_turn: called when a turn is over.
    """

    def __init__(
        self,
        turns: TurnSource,
        player: Player,
        settings: Settings,
        *,
        lag_s: float = 0.0,
        vad: Vad | None = None,
        turn_model: TurnModel | None = None,
        speculative: bool = True,
        system_prompt: str | None = None,
        session_id: str | None = None,
        on_phase: Callable[[Phase, float], None] = lambda *_: None,
        on_event: OnEvent = lambda _: None,
        on_turn: Callable[[SpokenTurn], None] = lambda _: None,
    ) -> None:
        self._player = player
        self._settings = settings
        self._speculative = speculative
        self._session_id = session_id or uuid4().hex
        self._on_phase, self._on_event, self._on_turn = on_phase, on_event, on_turn
        self._now = asyncio.get_running_loop().time
        self._began_s = self._now()
        self._vad = vad or OwnVad()
        self._listener = Listener(settings, self._now, lag_s=lag_s)
        self._memory = ConversationMemory(settings.max_conversation_messages)
        self._tasks = Tasks()
        options = {"session_id": self._session_id}
        options |= {} if system_prompt is None else {"system_prompt": system_prompt}
        self._asking = Asking(turns, self._memory, self._tasks, self._emit, options)
        self._turn_detection = TurnDetection(turn_model, settings, self._tasks, self._listener.end_after)
        self._short_sounds = ShortSounds(turns, settings, self._tasks, session_id=self._session_id)
        self._recorder: TurnRecorder | None = None  # of the question that is being asked
        self._speech_began_s = 0.0
        self._reply: Reply | None = None  # on its way, or audible
        self._underruns = 0

    async def run(self, frames: AsyncIterable[Frame], *, ended: Callable[[], bool] = lambda: False) -> None:
        """Converse until the frames end, or until nothing is under way and `ended` says that only silence
        follows; or until cancelled."""
        try:
            async for frame in frames:
                [probability] = await self._vad.probabilities(frame)
                self._note_first_audio()
                self._end_short_sound()
                for event in self._listener.process(frame, probability):
                    self._on_listening(event)
                self._listener.encode()
                self._end_played_turn()
                self._on_phase(self._phase, self._listener.level)
                if ended() and not self._reply and not self._listener.in_utterance:
                    return
        finally:
            await self._close()

    async def _close(self) -> None:
        try:
            with ExitStack() as stack:  # all of it, whatever fails
                stack.callback(self._listener.close)
                stack.callback(self._interrupt)
                stack.callback(self._asking.drop_speculation)
        finally:
            await self._tasks.end()

    def _on_listening(self, event: ListeningEvent) -> None:
        match event:
            case SpeechStarted(start_sample):
                self._begin_utterance(start_sample)
            case SpeechDropped():
                self._drop_utterance()
            case SpeechResumed():
                self._turn_detection.leave_pause()
                self._asking.drop_speculation()
            case PauseReached():
                self._pause_reached(event)
            case UtteranceEnded():
                self._utterance_ended(event)
            case BargeInEvent():
                self._barge_in(event)

    # What is being said

    def _begin_utterance(self, start_sample: int) -> None:
        reply, self._speech_began_s = self._reply, self._now()
        if reply and not reply.audible:
            self._pause(reply)  # until it is certain that somebody speaks
        if reply and self._listener.extends:
            self._recorder = reply.recorder
        else:
            began_s = self._listener.moment(start_sample)
            self._recorder = TurnRecorder(self._now, self._session_id, self._began_s, began_s)

    def _drop_utterance(self) -> None:
        self._recorder = None
        if self._reply and self._reply.paused:
            self._reply.paused = False
            self._player.resume()

    def _pause_reached(self, event: PauseReached) -> None:
        self._supersede()
        recorder = self._speech_ended(event)
        if self._reply:
            return
        self._turn_detection.pause(self._listener.said(HEARD_S))
        if self._speculative:
            shortest_s = self._turn_detection.shortest_silence_s
            certain_after_s = max(0.0, shortest_s - self._settings.speculation_after_s)
            self._asking.speculate(self._listener.question(event), recorder, certain_after_s=certain_after_s)

    def _utterance_ended(self, event: UtteranceEnded) -> None:
        self._supersede()
        self._interrupt()  # the utterance reached its maximum before it was certain to be an interruption
        recorder = self._speech_ended(event)
        recorder.turn_certain(None if event.full else self._turn_detection.ended_by)
        self._turn_detection.leave_pause()
        self._reply, self._recorder = self._asking.ask(self._listener.question(event), recorder), None

    def _speech_ended(self, event: PauseReached | UtteranceEnded) -> TurnRecorder:
        assert self._recorder, "an utterance is under way"
        self._recorder.speech_ended(self._listener.moment(event.speech_end_sample))
        return self._recorder

    def _supersede(self) -> None:
        """Somebody spoke on before the reply was audible: their question was not complete."""
        reply = self._reply
        if not reply or reply.audible:
            return
        reply.recorder.spoke_again(self._speech_began_s)
        played = self._leave(reply)
        if reply.recorder is self._recorder:
            self._tasks.keep(reply.drop())
        else:  # the question cannot get longer
            reply.mute()
            self._memory.to_come = self._tasks.start(self._remember(reply, played, self._memory.to_come))

    async def _remember(
        self, reply: Reply, played: tuple[SegmentPlayed, ...], before: "asyncio.Task[None] | None"
    ) -> None:
        """Wait for a question's transcript, without the reply."""
        try:
            if before:
                await asyncio.wait([before])
            await reply.transcribed.wait()
        finally:
            self._tasks.keep(reply.cancel())
            self._over(reply, played, interrupted=True)

    # The reply

    def _emit(self, event: TurnEvent) -> None:
        self._on_event(event)
        if isinstance(event, SpeechChunk):
            self._player.play(to_pcm(event.audio))
        if isinstance(event, TurnEnd):
            self._player.end_reply()

    def _note_first_audio(self) -> None:
        reply = self._reply
        if reply and not reply.audible and not reply.paused and self._player.first_audio_at_s is not None:
            reply.audible = True
            self._listener.reply_audible()

    def _barge_in(self, event: BargeInEvent) -> None:
        assert self._reply, "only an audible reply is interrupted"
        match event:
            case BargeInEvent.PAUSE:
                self._short_sounds.cancel()
                self._pause(self._reply)
            case BargeInEvent.SHORT_SOUND:
                self._short_sounds.decide(self._listener.said(HEARD_S))
            case BargeInEvent.RESUME:
                self._drop_utterance()
            case BargeInEvent.INTERRUPT:
                self._reply.recorder.spoke_again(self._speech_began_s)
                self._interrupt()

    def _end_short_sound(self) -> None:
        if (interrupts := self._short_sounds.decision()) is not None:
            event = BargeInEvent.INTERRUPT if interrupts else BargeInEvent.RESUME
            self._listener.decide(event)
            self._barge_in(event)

    def _pause(self, reply: Reply) -> None:
        reply.paused = True
        self._player.pause()

    def _end_played_turn(self) -> None:
        reply = self._reply
        if reply and reply.ended and (reply.audible or not reply.paused):
            self._player.end_reply()
            if self._player.done:
                self._finish(reply, interrupted=False)

    def _interrupt(self) -> None:
        if self._reply:
            self._tasks.keep(self._reply.cancel())
            self._finish(self._reply, interrupted=True)

    def _finish(self, reply: Reply, *, interrupted: bool) -> None:
        self._short_sounds.cancel()
        played = self._leave(reply)
        self._listener.turn_ended()
        self._over(reply, played, interrupted=interrupted)

    def _leave(self, reply: Reply) -> tuple[SegmentPlayed, ...]:
        """Make room for the next reply. Returns how much of this one was played."""
        self._reply = None
        if (first_audio_at_s := self._player.first_audio_at_s) is not None:
            reply.recorder.first_audio(first_audio_at_s)
        return self._player.clear()

    def _over(self, reply: Reply, played: tuple[SegmentPlayed, ...], *, interrupted: bool) -> None:
        underruns, self._underruns = self._player.underruns - self._underruns, self._player.underruns
        rate_hz = self._player.sample_rate_hz
        turn = reply.spoken_turn(played, rate_hz, interrupted=interrupted, underruns=underruns)
        self._memory.add(turn.transcript, turn.played)
        self._on_turn(turn)

    @property
    def _phase(self) -> Phase:
        if self._reply and self._reply.audible:
            return Phase.PAUSED if self._reply.paused else Phase.SPEAKING
        if self._listener.in_utterance:
            return Phase.HEARING
        return Phase.THINKING if self._reply else Phase.LISTENING
