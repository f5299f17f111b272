"""`s2s turn`: one turn on a recording."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from client.audio.audio_file import STANDARD_OUTPUT, check_writable, read_audio, write_audio
from client.audio.device_speaker import DeviceSpeaker
from client.audio.sound_devices import Direction, NoSoundDevice, SoundDeviceLost, find_device
from client.default_llm import default_llm_remark
from client.display.terminal import print_json
from client.display.turn_display import TurnDisplay, TurnProgress
from client.errors import reported_errors
from client.targets import TELEMETRY_NAME, Target
from client.turn_source import turns_at
from conversation.reply import TurnSource
from orchestrator.turn_result import TurnResultBuilder
from shared.audio.decode import to_pcm
from shared.audio.pcm import Pcm
from shared.errors import NoSpeech
from shared.settings import settings
from shared.telemetry import telemetry
from shared.turn import SpeechChunk, TurnRequest, TurnResult

PLAYBACK_LATENCY_S = 0.2
"""Nobody interrupts this reply, so it may be played from a buffer that spares busy machines underruns."""


def turn_command(
    source: str,
    output_file: Path,
    *,
    target: Target,
    system: str | None,
    as_json: bool,
    play: bool,
    output_device: str | None,
) -> None:
    """Run the command; see `s2s turn --help`. What is wrong is reported before any engine is loaded."""
    terminal = Console(stderr=True)
    output = terminal if output_file == STANDARD_OUTPUT else Console()
    display = TurnProgress(terminal) if as_json else TurnDisplay(output, terminal)
    turns = turns_at(target, settings(), display.waiting)
    check_writable(output_file)
    if output_device is not None:
        find_device(Direction.OUTPUT, output_device)
    audio = read_audio(source, settings())
    options = {} if system is None else {"system_prompt": system}
    request = TurnRequest.checked(audio=audio, **options)
    player = _player(output_device, terminal) if play else None
    with telemetry(TELEMETRY_NAME):
        result = asyncio.run(_run(request, turns, display, player))
    reply = to_pcm(result.audio) if result.audio else None
    if reply:
        write_audio(output_file, reply, settings())
    if as_json:
        print_json(_as_json(result, output_file, reply))
    elif reply:
        output.print(f"Wrote {output_file} ({reply.duration_s:.1f} s of speech).", markup=False)
        if remark := default_llm_remark(target, settings()):
            output.print(Text(remark, "dim"), soft_wrap=not output.is_terminal)
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


async def _run(
    request: TurnRequest,
    turns: AbstractAsyncContextManager[TurnSource],
    display: TurnProgress,
    player: AbstractAsyncContextManager[Callable[[Pcm], None]] | None,
) -> TurnResult:
    """Run the turn, display it and play the reply.

    Raises SpeechError if the turn cannot be run; a turn that fails is a result.
    """
    builder, result = TurnResultBuilder(), None
    async with AsyncExitStack() as stack:
        stack.callback(display.close)
        play = await stack.enter_async_context(player) if player else None
        turn_source = await stack.enter_async_context(turns)
        async for event in await stack.enter_async_context(aclosing(turn_source(request))):
            display.event(event)
            if play and isinstance(event, SpeechChunk):
                play(to_pcm(event.audio))
            result = builder.add(event)
    assert result, "a turn ends with a TurnEnd"
    return result


@asynccontextmanager
async def _player(device: str | None, terminal: Console) -> AsyncIterator[Callable[[Pcm], None]]:
    """A function that plays a segment, behind the caller's back. Leaving waits until all of it was
    played; leaving by an exception falls silent at once."""
    segments: asyncio.Queue[Pcm | None] = asyncio.Queue()
    playing = asyncio.create_task(_play(segments, device))
    try:
        yield segments.put_nowait
        segments.put_nowait(None)
        await playing
    except (NoSoundDevice, SoundDeviceLost) as error:
        line = Text(f"The reply could not be played: {error.message}", "yellow")
        terminal.print(line, soft_wrap=True)
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


async def _play(segments: "asyncio.Queue[Pcm | None]", device: str | None) -> None:
    async with DeviceSpeaker(device, latency_s=PLAYBACK_LATENCY_S) as speaker:
        while segment := await segments.get():
            speaker.play(segment)
        speaker.end_reply()
        await speaker.drain()
