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
from conversation.turn_recorder import TurnRecorder
from shared.audio.decode import to_pcm
from shared.settings import Settings
from shared.turn import SpeechChunk, TurnEnd, TurnEvent, TurnRequest


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

    If `speculative`, a turn begins at the first pause, inaudibly, and is kept if the speaker has finished
    (LiveKit calls this preemptive generation).

    Args:
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
        speculative: bool = True,
        system_prompt: str | None = None,
        session_id: str | None = None,
        on_phase: Callable[[Phase, float], None] = lambda *_: None,
        on_event: OnEvent = lambda _: None,
        on_turn: Callable[[SpokenTurn], None] = lambda _: None,
    ) -> None:
        self._turns = turns
        self._player = player
        self._settings = settings
        self._speculative = speculative
        self._options = {"session_id": session_id or uuid4().hex}
        self._options |= {} if system_prompt is None else {"system_prompt": system_prompt}
        self._on_phase, self._on_event, self._on_turn = on_phase, on_event, on_turn
        self._now = asyncio.get_running_loop().time
        self._began_s = self._now()
        self._listener = Listener(settings, self._now, lag_s=lag_s)
        self._memory = ConversationMemory(settings.max_conversation_messages)
        self._recorder: TurnRecorder | None = None  # of the question that is being asked
        self._speculation: Reply | None = None
        self._reply: Reply | None = None  # on its way, or audible
        self._remembering: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._underruns = 0

    async def run(self, frames: AsyncIterable[Frame], *, ended: Callable[[], bool] = lambda: False) -> None:
        """Converse until the frames end, or until nothing is under way and `ended` says that only silence
        follows; or until cancelled."""
        try:
            async for frame in frames:
                self._note_first_audio()
                for event in self._listener.process(frame):
                    self._on_listening(event)
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
                stack.callback(self._drop_speculation)
        finally:
            await asyncio.sleep(0)  # a task that never began would not end its turn
            for task in self._tasks:
                task.cancel()
            while self._tasks:
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_listening(self, event: ListeningEvent) -> None:
        match event:
            case SpeechStarted(start_sample):
                self._begin_utterance(start_sample)
            case SpeechDropped():
                self._drop_utterance()
            case SpeechResumed():
                self._drop_speculation()
            case PauseReached():
                self._pause_reached(event)
            case UtteranceEnded():
                self._utterance_ended(event)
            case BargeInEvent():
                self._barge_in(event)

    # What is being said

    def _begin_utterance(self, start_sample: int) -> None:
        reply = self._reply
        if reply and not reply.audible:
            self._pause(reply)  # until it is certain that somebody speaks
        if reply and self._listener.extends:
            self._recorder = reply.recorder
        else:
            began_s = self._listener.moment(start_sample)
            session_id = self._options["session_id"]
            self._recorder = TurnRecorder(self._now, session_id, self._began_s, began_s)

    def _drop_utterance(self) -> None:
        self._recorder = None
        if self._reply and self._reply.paused:
            self._reply.paused = False
            self._player.resume()

    def _pause_reached(self, event: PauseReached) -> None:
        self._supersede()
        recorder = self._speech_ended(event)
        if self._speculative and not self._reply:
            self._speculation = self._ask(recorder, event, speculative=True)

    def _utterance_ended(self, event: UtteranceEnded) -> None:
        self._supersede()
        self._interrupt()  # the utterance reached its maximum before it was certain to be an interruption
        recorder = self._speech_ended(event)
        recorder.turn_certain()
        reply, self._speculation = self._speculation or self._ask(recorder, event), None
        self._reply, self._recorder = reply, None
        reply.release()

    def _speech_ended(self, event: PauseReached | UtteranceEnded) -> TurnRecorder:
        assert self._recorder, "an utterance is under way"
        self._recorder.speech_ended(self._listener.moment(event.speech_end_sample))
        return self._recorder

    def _ask(
        self, recorder: TurnRecorder, event: PauseReached | UtteranceEnded, *, speculative: bool = False
    ) -> Reply:
        settings, question = self._settings, self._listener.question(event)
        until_certain_s = max(0.0, settings.end_of_turn_silence_s - settings.speculation_after_s)

        async def request() -> TurnRequest:
            if self._remembering:
                await asyncio.shield(self._remembering)
            request = TurnRequest(
                audio=question,
                conversation=self._memory.messages,
                speculative=speculative,
                second_chunk_after_s=until_certain_s if speculative else 0.0,
                **self._options,
            )
            recorder.request_sent(request)
            return request

        return Reply(self._turns, question, request, recorder, self._emit)

    def _drop_speculation(self) -> None:
        if self._speculation:
            self._drop(self._speculation)
            self._speculation = None

    def _supersede(self) -> None:
        """Somebody spoke on before the reply was audible: their question was not complete."""
        reply = self._reply
        if not reply or reply.audible:
            return
        played = self._leave(reply)
        if reply.recorder is self._recorder:  # the next request has all of its audio
            self._drop(reply)
        else:  # the question cannot get longer
            reply.mute()
            self._remembering = asyncio.create_task(self._remember(reply, played, self._remembering))
            self._keep(self._remembering)

    async def _remember(
        self, reply: Reply, played: tuple[SegmentPlayed, ...], before: "asyncio.Task[None] | None"
    ) -> None:
        """Wait for a question's transcript, without the reply."""
        try:
            if before:
                await asyncio.wait([before])
            await reply.transcribed.wait()
        finally:
            self._keep(reply.cancel())
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
                self._pause(self._reply)
            case BargeInEvent.RESUME:
                self._drop_utterance()
            case BargeInEvent.INTERRUPT:
                self._interrupt()

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
            self._keep(self._reply.cancel())
            self._finish(self._reply, interrupted=True)

    def _finish(self, reply: Reply, *, interrupted: bool) -> None:
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

    def _drop(self, reply: Reply) -> None:
        """The next request has all of this one's audio."""
        reply.recorder.request_dropped()
        self._keep(reply.cancel())

    def _keep(self, task: "asyncio.Task[None]") -> None:
        """Wait for it before the conversation ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def _phase(self) -> Phase:
        if self._reply and self._reply.audible:
            return Phase.PAUSED if self._reply.paused else Phase.SPEAKING
        if self._listener.in_utterance:
            return Phase.HEARING
        return Phase.THINKING if self._reply else Phase.LISTENING
