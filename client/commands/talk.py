"""`s2s talk`: a conversation over microphone and loudspeaker, or over recordings."""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.file_proxy import FileProxy  # prints above what goes on

from client.audio.talk_audio import SoundOptions, TalkSound
from client.display.talk_display import TalkConversation
from client.errors import OutputNotWritten, reported_errors
from client.metrics.metrics_file import MetricsFile
from client.metrics.session import Session
from client.metrics.session_table import session_table
from client.saved_turns import SavedTurns
from client.targets import Target
from client.turn_source import TurnSource, turns_at
from conversation.conversation import SpokenTurn, Talk
from conversation.listener import Listener
from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import SpeechError
from shared.logs import configure_logging
from shared.settings import settings
from shared.turn import Failure, TurnRequest


@dataclass(frozen=True, kw_only=True)
class TalkOptions:
    """What `s2s talk` was told."""

    target: Target
    sound: SoundOptions
    speculative: bool
    system: str | None
    metrics: Path | None
    save: Path | None


def talk_command(options: TalkOptions) -> None:
    """Run the command; see `s2s talk --help`. Ctrl-C is how a conversation ends, and no error.

    What is wrong is found out before any engine is loaded. However a conversation ends, its summary is told.
    """
    with reported_errors(as_json=False), ExitStack() as stack:
        output, terminal = Console(), Console(stderr=True)
        if terminal.is_terminal:
            configure_logging(settings(), FileProxy(terminal, sys.stderr))
        display = TalkConversation(output, terminal)
        turns = turns_at(options.target, settings(), display.waiting, display.loading)
        sound = TalkSound.chosen(options.sound, settings())
        _check_system_prompt(options.system)
        saved = SavedTurns(options.save) if options.save else None
        metrics = stack.enter_context(MetricsFile(options.metrics)) if options.metrics else None
        conversation = _Conversation(options, turns, sound, display, metrics, saved)
        stack.callback(conversation.tell_summary, output)
        stack.callback(display.close)
        try:
            asyncio.run(conversation.run())
        except KeyboardInterrupt:
            if not conversation.session:
                raise


def _check_system_prompt(system: str | None) -> None:
    if system is not None:
        TurnRequest.checked(audio=Pcm(np.zeros(1, np.float32), ASR_SAMPLE_RATE_HZ), system_prompt=system)


class _Conversation:
    """One conversation; `session` is there once it has begun."""

    def __init__(
        self,
        options: TalkOptions,
        turns: AbstractAsyncContextManager[TurnSource],
        sound: TalkSound,
        display: TalkConversation,
        metrics: MetricsFile | None,
        saved: SavedTurns | None,
    ) -> None:
        self._options = options
        self._turns = turns
        self._sound = sound
        self._display = display
        self._metrics = metrics
        self._saved = saved
        self.session: Session | None = None

    async def run(self) -> None:
        """Talk to the end. Raises SpeechError if there is nobody or nothing to talk with."""
        now = asyncio.get_running_loop().time
        async with AsyncExitStack() as stack:
            turns = await stack.enter_async_context(self._turns)
            if apps := self._options.target.apps:
                from client.cloud.modal_connection import check_deployed  # needs modal

                await check_deployed(apps[-1])
                stack.push_async_callback(_cancelled, asyncio.create_task(self._warm()))
            speaker = await stack.enter_async_context(self._sound.speaker)
            microphone = await stack.enter_async_context(self._sound.microphone)
            self._display.waiting("")
            self.session = stack.enter_context(Session(now, self._metrics, microphone))
            await Talk(
                turns,
                microphone,
                speaker,
                self.session,
                self._display,
                settings(),
                listener=Listener(settings(), now, echo=self._sound.echo, lag_s=self._sound.lag_s),
                speculative=self._options.speculative,
                system_prompt=self._options.system,
                on_turn=self._save,
            ).run()

    def tell_summary(self, output: Console) -> None:
        """Print where the time of the conversation went, if there was one."""
        if self.session:
            output.print(session_table(self.session.summary()))

    async def _warm(self) -> None:
        """Have what is deployed start while the person gets ready."""
        from client.cloud.warm import warmed  # needs modal

        self._display.remark("Starting what is deployed; you can speak already.")
        try:
            apps = await warmed(self._options.target.apps)
        except SpeechError as error:
            self._display.problem(error.message)
            return
        failures = [one.message for one in apps.values() if isinstance(one, Failure)]
        for message in failures:
            self._display.problem(message)
        if not failures:
            self._display.remark("All that is deployed has started.")

    def _save(self, turn: SpokenTurn) -> None:
        """The conversation is worth more than what is kept of it."""
        try:
            if self._saved:
                self._saved.save(turn)
        except OutputNotWritten as error:
            self._display.problem(error.message)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
