"""`s2s talk`: a conversation over microphone and loudspeaker, or over recordings."""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from rich.console import Console

from client.audio_file import OutputNotWritten, check_writable
from client.command_errors import reported_errors
from client.device_microphone import DeviceMicrophone
from client.device_speaker import DeviceSpeaker
from client.echo import EchoCanceller
from client.file_microphone import FileMicrophone
from client.file_speaker import FileSpeaker
from client.listener import Listener
from client.metrics_file import MetricsFile
from client.microphone import Microphone
from client.saved_turns import SavedTurns
from client.session import Session
from client.session_table import session_table
from client.sound_devices import Direction, find_device
from client.speaker import Speaker
from client.talk import SpokenTurn, Talk
from client.talk_display import TalkConversation
from client.turn_source import Target, TurnSource, deployed_turns, turns_in_process
from client.warming import warmed
from services.selection import check_runs_here, select
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.logs import configure_logging
from shared.pcm import Pcm
from shared.settings import settings
from shared.turn import Failure, TurnRequest


@dataclass(frozen=True, kw_only=True)
class TalkOptions:
    """What `s2s talk` was told; a device or file that is None is the default device."""

    target: Target
    input_device: str | None
    output_device: str | None
    input_wav: str | None
    output_wav: Path | None
    speculative: bool
    cancel_echo: bool
    system: str | None
    metrics: Path | None
    save: Path | None


def talk_command(options: TalkOptions) -> None:
    """Run the command; see `s2s talk --help`. Ctrl-C is how a conversation ends, and no error.

    What is wrong is found out before any engine is loaded. However a conversation ends, its summary is told.
    """
    with reported_errors(as_json=False), ExitStack() as stack:
        configure_logging(settings())
        output, terminal = Console(), Console(stderr=True)
        display = TalkConversation(output, terminal)
        turns = _turns(options.target, display)
        sound = _Sound.of(options)
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


def _turns(target: Target, display: TalkConversation) -> AbstractAsyncContextManager[TurnSource]:
    if target != "local":
        return deployed_turns(settings(), display.waiting, monolith=target == "monolith")
    selection = select(settings())
    check_runs_here(selection)
    return turns_in_process(selection, settings(), display.loading)


def _check_system_prompt(system: str | None) -> None:
    if system is not None:
        TurnRequest.checked(audio=Pcm(np.zeros(1, np.float32), ASR_SAMPLE_RATE_HZ), system_prompt=system)


@dataclass(frozen=True)
class _Sound:
    """What is listened to and spoken on, not opened yet."""

    microphone: Microphone
    speaker: Speaker
    echo: EchoCanceller | None

    @classmethod
    def of(cls, options: TalkOptions) -> Self:
        """Raises SpeechError if a recording cannot be read or written, or a device is not there."""
        # A recording does not hear the loudspeaker.
        echo = EchoCanceller() if options.cancel_echo and not options.input_wav else None
        return cls(_microphone(options), _speaker(options, echo), echo)


def _microphone(options: TalkOptions) -> Microphone:
    if options.input_wav:
        return FileMicrophone.of(options.input_wav, settings())
    find_device(Direction.INPUT, options.input_device)
    return DeviceMicrophone(options.input_device)


def _speaker(options: TalkOptions, echo: EchoCanceller | None) -> Speaker:
    played = echo.far if echo else None
    if options.output_wav:
        check_writable(options.output_wav, suffixes=(".wav",))
        return FileSpeaker(options.output_wav, played=played)
    find_device(Direction.OUTPUT, options.output_device)
    return DeviceSpeaker(options.output_device, latency_s=settings().speaker_latency_s, played=played)


class _Conversation:
    """One conversation; `session` is there once it has begun."""

    def __init__(
        self,
        options: TalkOptions,
        turns: AbstractAsyncContextManager[TurnSource],
        sound: _Sound,
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
        echo = self._sound.echo
        lag_s = EchoCanceller.LATENCY_SAMPLES / ASR_SAMPLE_RATE_HZ if echo else 0.0
        async with AsyncExitStack() as stack:
            turns = await stack.enter_async_context(self._turns)
            speaker = await stack.enter_async_context(self._sound.speaker)
            microphone = await stack.enter_async_context(self._sound.microphone)
            if self._options.target != "local":
                stack.push_async_callback(_cancelled, asyncio.create_task(self._warm()))
            self._display.waiting("")
            self.session = stack.enter_context(Session(now, self._metrics, microphone))
            await Talk(
                turns,
                microphone,
                speaker,
                self.session,
                self._display,
                settings(),
                listener=Listener(settings(), now, echo=echo, lag_s=lag_s),
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
        self._display.remark("Starting what is deployed; you can speak already.")
        for one in (await warmed(monolith=self._options.target == "monolith")).values():
            if isinstance(one, Failure):
                self._display.problem(one.message)

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
