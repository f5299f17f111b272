"""`s2s talk`: a conversation over microphone and loudspeaker, or over recordings."""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from client.command_errors import reported_errors
from client.echo import EchoCanceller
from client.listener import Listener
from client.metrics_file import MetricsFile
from client.microphone import DeviceMicrophone, FileMicrophone, Microphone
from client.saved_turns import SavedTurns
from client.session import Session
from client.session_table import session_table
from client.speaker import DeviceSpeaker, FileSpeaker, Speaker
from client.talk import Talk
from client.talk_display import TalkConversation
from client.turn_source import Target, TurnSource, deployed_turns, turns_in_process
from client.warming import warmed
from services.selection import check_runs_here, select
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.logs import configure_logging
from shared.settings import settings
from shared.turn import Failure


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
    """Run the command; see `s2s talk --help`. Ctrl-C is how a conversation ends, and no error."""
    with reported_errors(as_json=False):
        configure_logging(settings())
        output, terminal = Console(), Console(stderr=True)
        display = TalkConversation(output, terminal)
        turns = _turns(options.target, display)
        with ExitStack() as stack:
            stack.callback(display.close)
            metrics = stack.enter_context(MetricsFile(options.metrics)) if options.metrics else None
            saved = SavedTurns(options.save) if options.save else None
            conversation = _Conversation(options, turns, display, metrics, saved)
            try:
                asyncio.run(conversation.run())
            except KeyboardInterrupt:
                if not conversation.session:
                    raise
        if conversation.session:
            output.print(session_table(conversation.session.summary()))


def _turns(target: Target, display: TalkConversation) -> AbstractAsyncContextManager[TurnSource]:
    if target != "local":
        return deployed_turns(settings(), display.waiting, monolith=target == "monolith")
    selection = select(settings())
    check_runs_here(selection)
    return turns_in_process(selection, settings(), display.loading)


class _Conversation:
    """One conversation; `session` is there once it has begun."""

    def __init__(
        self,
        options: TalkOptions,
        turns: AbstractAsyncContextManager[TurnSource],
        display: TalkConversation,
        metrics: MetricsFile | None,
        saved: SavedTurns | None,
    ) -> None:
        self._options = options
        self._turns = turns
        self._display = display
        self._metrics = metrics
        self._saved = saved
        self.session: Session | None = None

    async def run(self) -> None:
        """Talk to the end. Raises SpeechError if there is nobody or nothing to talk with."""
        now = asyncio.get_running_loop().time
        async with AsyncExitStack() as stack:
            echo = self._echo_canceller()
            turns = await stack.enter_async_context(self._turns)
            speaker = await stack.enter_async_context(self._speaker(echo))
            microphone = await stack.enter_async_context(self._microphone())
            lag_s = EchoCanceller.LATENCY_SAMPLES / ASR_SAMPLE_RATE_HZ if echo else 0.0
            if self._options.target != "local":
                stack.push_async_callback(_cancelled, asyncio.create_task(self._warm()))
            self._display.waiting("")
            self.session = stack.enter_context(Session(now, self._metrics))
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
                on_turn=self._saved.save if self._saved else lambda _: None,
            ).run()

    async def _warm(self) -> None:
        """Have what is deployed start while the person gets ready."""
        self._display.remark("Starting what is deployed; you can speak already.")
        for one in (await warmed(monolith=self._options.target == "monolith")).values():
            if isinstance(one, Failure):
                self._display.problem(one.message)

    def _echo_canceller(self) -> EchoCanceller | None:
        """A recording does not hear the loudspeaker."""
        return EchoCanceller() if self._options.cancel_echo and not self._options.input_wav else None

    def _microphone(self) -> Microphone:
        if self._options.input_wav:
            return FileMicrophone.of(self._options.input_wav, settings())
        return DeviceMicrophone(self._options.input_device)

    def _speaker(self, echo: EchoCanceller | None) -> Speaker:
        played = echo.far if echo else None
        if self._options.output_wav:
            return FileSpeaker(self._options.output_wav, played=played)
        return DeviceSpeaker(self._options.output_device, played=played)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
