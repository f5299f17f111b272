"""`s2s talk`: a conversation over microphone and loudspeaker, or over recordings."""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.file_proxy import FileProxy  # prints above what goes on

from client.audio.talk_audio import AudioOptions, TalkAudio
from client.default_llm import default_llm_remark
from client.display.talk_display import TalkDisplay
from client.metrics.conversation_metrics import ConversationMetrics
from client.metrics.metrics_file import MetricsFile
from client.metrics.table import summary_table
from client.saved_turns import SavedTurns
from client.targets import TELEMETRY_NAME, Target
from client.turn_model import turn_model_of
from client.turn_source import turns_at
from conversation.conversation import Conversation
from conversation.reply import SpokenTurn, TurnSource
from conversation.turn_detection import TurnModel
from shared.audio.pcm import Pcm
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import SpeechError
from shared.logs import configure_logging
from shared.settings import settings
from shared.telemetry import telemetry
from shared.turn import Failure, TurnRequest


@dataclass(frozen=True, kw_only=True)
class TalkOptions:
    """The options of `s2s talk`."""

    target: Target
    audio: AudioOptions
    speculative: bool
    system: str | None
    metrics: Path | None
    save: Path | None


def talk_command(options: TalkOptions) -> None:
    """Run the command; see `s2s talk --help`. Ctrl-C is how a conversation ends, and no error.

    Wrong options are reported before any engine is loaded. However it ends, the summary is printed.
    """
    with ExitStack() as stack:
        stack.enter_context(telemetry(TELEMETRY_NAME))
        output, terminal = Console(), Console(stderr=True)
        if terminal.is_terminal:
            configure_logging(settings(), FileProxy(terminal, sys.stderr))
        display = TalkDisplay(output, terminal)
        turns = turns_at(options.target, settings(), display.waiting)
        turn_model = turn_model_of(settings())
        audio = TalkAudio.chosen(options.audio, settings())
        _check_system_prompt(options.system)
        saved = SavedTurns(options.save, display.problem) if options.save else None
        metrics = stack.enter_context(MetricsFile(options.metrics)) if options.metrics else None
        talk = _Talk(options, turns, turn_model, audio, display, metrics, saved)
        stack.callback(talk.print_summary, output)
        stack.callback(display.close)
        try:
            asyncio.run(talk.run())
        except KeyboardInterrupt:
            if not talk.metrics:
                raise


def _check_system_prompt(system: str | None) -> None:
    if system is not None:
        TurnRequest.checked(audio=Pcm(np.zeros(1, np.float32), ASR_SAMPLE_RATE_HZ), system_prompt=system)


@dataclass
class _Talk:
    """One conversation; `metrics` is set once it has begun."""

    options: TalkOptions
    turns: AbstractAsyncContextManager[TurnSource]
    turn_model: AbstractAsyncContextManager[TurnModel | None]
    audio: TalkAudio
    display: TalkDisplay
    metrics_file: MetricsFile | None
    saved: SavedTurns | None
    metrics: ConversationMetrics | None = None

    async def run(self) -> None:
        """Talk to the end. Raises SpeechError if there is nobody or nothing to talk with."""
        async with AsyncExitStack() as stack:
            turns = await stack.enter_async_context(self.turns)
            turn_model = await stack.enter_async_context(self.turn_model)
            if apps := self.options.target.apps:
                from client.cloud.modal_connection import check_deployed  # needs modal

                await check_deployed(apps[-1])
                stack.push_async_callback(_cancelled, asyncio.create_task(self._warm()))
            if self.saved:
                await stack.enter_async_context(self.saved)
            speaker = await stack.enter_async_context(self.audio.speaker)
            microphone = await stack.enter_async_context(self.audio.microphone)
            self.display.waiting("")
            if remark := default_llm_remark(self.options.target, settings()):
                self.display.remark(remark)
            now = asyncio.get_running_loop().time
            self.metrics = stack.enter_context(ConversationMetrics(now, self.metrics_file, microphone))
            conversation = Conversation(
                turns,
                speaker,
                settings(),
                turn_model=turn_model,
                lag_s=self.audio.lag_s,
                speculative=self.options.speculative,
                system_prompt=self.options.system,
                session_id=self.metrics.session_id,
                on_phase=self.display.phase,
                on_event=self.display.event,
                on_turn=self._turn_over,
            )
            async with aclosing(self.audio.frames()) as frames:
                await conversation.run(frames, ended=lambda: microphone.ended)

    def print_summary(self, output: Console) -> None:
        """Print where the time of the conversation went, if there was one."""
        if self.metrics:
            output.print(summary_table(self.metrics.summary()))

    def _turn_over(self, turn: SpokenTurn) -> None:
        if self.metrics:
            self.metrics.add(turn.record)
        self.display.turn_over(turn)
        if self.saved:
            self.saved.save(turn)

    async def _warm(self) -> None:
        """Have what is deployed start while the person gets ready."""
        from client.cloud.warm import warmed  # needs modal

        self.display.remark("Starting what is deployed; you can speak already.")
        try:
            apps = await warmed(self.options.target.apps)
        except SpeechError as error:
            self.display.problem(error.message)
            return
        failures = [one.message for one in apps.values() if isinstance(one, Failure)]
        for message in failures:
            self.display.problem(message)
        if not failures:
            self.display.remark("All that is deployed has started.")


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
