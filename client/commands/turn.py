"""`s2s turn`: one turn on a recording."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from client.audio.audio_file import STANDARD_OUTPUT, check_writable, read_audio, write_audio
from client.audio.device_speaker import DeviceSpeaker
from client.audio.sound_devices import Direction, NoSoundDevice, SoundDeviceLost, find_device
from client.display.terminal import print_json
from client.display.turn_display import TurnDisplay, TurnProgress
from client.errors import reported_errors
from client.targets import Target
from client.turn_source import turns_at
from conversation.reply import TurnSource
from orchestrator.turn_result import TurnResultBuilder
from shared.audio.decode import to_pcm
from shared.audio.pcm import Pcm
from shared.errors import NoSpeech
from shared.settings import settings
from shared.turn import SpeechChunk, TurnEvent, TurnRequest, TurnResult

PLAYBACK_LATENCY_S = 0.2
"""Nobody interrupts this reply, so it may be played from a buffer that spares busy machines underruns."""


@dataclass(frozen=True, kw_only=True)
class TurnOptions:
    """The options of `s2s turn`."""

    source: str
    output: Path
    target: Target
    system: str | None
    as_json: bool
    play: bool
    output_device: str | None


def turn_command(options: TurnOptions) -> None:
    """Run the command; see `s2s turn --help`. What is wrong is reported before any engine is loaded."""
    terminal = Console(stderr=True)
    output = terminal if options.output == STANDARD_OUTPUT else Console()
    display = TurnProgress(terminal) if options.as_json else TurnDisplay(output, terminal)
    turns = turns_at(options.target, settings(), display.waiting)
    check_writable(options.output)
    if options.output_device is not None:
        find_device(Direction.OUTPUT, options.output_device)
    audio = read_audio(options.source, settings())
    system = {} if options.system is None else {"system_prompt": options.system}
    request = TurnRequest.checked(audio=audio, **system)
    result = asyncio.run(_OneTurn(turns, display, terminal).run(request, options))
    _finish(result, options, output)


def _finish(result: TurnResult, options: TurnOptions, output: Console) -> None:
    """Write what there is of the reply, then report how the turn ended."""
    audio = to_pcm(result.audio) if result.audio else None
    if audio:
        write_audio(options.output, audio, settings())
    if options.as_json:
        print_json(_as_json(result, options.output, audio))
    elif audio:
        output.print(f"Wrote {options.output} ({audio.duration_s:.1f} s of speech).", markup=False)
    with reported_errors(as_json=False):
        if result.outcome == "no_speech":
            raise NoSpeech("Nobody speaks in this recording, so there is nothing to answer.")
        if result.failure:
            raise result.failure.to_error()


def _as_json(result: TurnResult, output: Path, audio: Pcm | None) -> dict[str, object]:
    written = audio and {
        "path": str(output),
        "duration_s": round(audio.duration_s, 3),
        "sample_rate_hz": audio.sample_rate_hz,
    }
    return result.model_dump(exclude={"audio", "failure"}) | {"audio": written, "error": result.failure}


class _OneTurn:
    """Runs the turn, displays it, and plays the reply."""

    def __init__(
        self, turns: AbstractAsyncContextManager[TurnSource], display: TurnProgress, terminal: Console
    ) -> None:
        self._turns = turns
        self._display = display
        self._terminal = terminal
        self._result = TurnResultBuilder()

    async def run(self, request: TurnRequest, options: TurnOptions) -> TurnResult:
        """Raises SpeechError if the turn cannot be run; a turn that fails is a result."""
        async with AsyncExitStack() as stack:
            stack.callback(self._display.close)
            play = await stack.enter_async_context(self._player(options)) if options.play else None
            async with self._turns as turns, aclosing(turns(request)) as events:
                return await self._follow(events, play)

    async def _follow(
        self, events: AsyncGenerator[TurnEvent, None], play: Callable[[Pcm], None] | None
    ) -> TurnResult:
        result = None
        async for event in events:
            self._display.event(event)
            if play and isinstance(event, SpeechChunk):
                play(to_pcm(event.audio))
            result = self._result.add(event)
        assert result, "a turn ends with a TurnEnd"
        return result

    @asynccontextmanager
    async def _player(self, options: TurnOptions) -> AsyncIterator[Callable[[Pcm], None]]:
        """A function that plays a segment, behind the caller's back. Leaving waits until all of it was
        played; leaving by an exception falls silent at once."""
        segments: asyncio.Queue[Pcm | None] = asyncio.Queue()
        playing = asyncio.create_task(_play(segments, options.output_device))
        try:
            yield segments.put_nowait
            segments.put_nowait(None)
            await playing
        except (NoSoundDevice, SoundDeviceLost) as error:
            line = Text(f"The reply could not be played: {error.message}", "yellow")
            self._terminal.print(line, soft_wrap=True)
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)


async def _play(segments: "asyncio.Queue[Pcm | None]", device: str | None) -> None:
    async with DeviceSpeaker(device, latency_s=PLAYBACK_LATENCY_S) as speaker:
        while segment := await segments.get():
            speaker.play(segment)
        speaker.end_reply()
        await speaker.drain()
