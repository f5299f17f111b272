"""`s2s turn`: one turn on a recording."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from client.audio.audio_file import check_writable, read_audio, write_audio
from client.audio.loudspeaker import Loudspeaker, NoLoudspeaker
from client.display.turn_display import TurnDisplay, TurnProgress
from client.errors import reported_errors
from client.turn_source import Target, TurnSource, deployed_turns, turns_in_process
from orchestrator.turn_result import TurnResultBuilder
from services.selection import check_runs_here, select
from shared.audio.decode import to_pcm
from shared.audio.pcm import Pcm
from shared.errors import NoSpeech
from shared.logs import configure_logging
from shared.settings import settings
from shared.turn import SpeechChunk, TurnEvent, TurnRequest, TurnResult


def turn_command(
    source: str, output: Path, *, target: Target, system: str | None, as_json: bool, play: bool
) -> None:
    """Run the command; see `s2s turn --help`. What is wrong is found out before any engine is loaded."""
    with reported_errors(as_json=as_json):
        configure_logging(settings())
        terminal = Console(stderr=True)
        display = TurnProgress(terminal) if as_json else TurnDisplay(Console(), terminal)
        turns = _turns(target, display)
        check_writable(output)
        audio = read_audio(source, settings())
        request = TurnRequest.checked(audio=audio, **({} if system is None else {"system_prompt": system}))
        result = asyncio.run(_OneTurn(turns, display, terminal).run(request, play=play))
        _finish(result, output, as_json=as_json)


def _turns(target: Target, display: TurnProgress) -> AbstractAsyncContextManager[TurnSource]:
    if target != "local":
        return deployed_turns(settings(), display.waiting, monolith=target == "monolith")
    selection = select(settings())
    check_runs_here(selection)
    return turns_in_process(selection, settings(), display.loading)


def _finish(result: TurnResult, output: Path, *, as_json: bool) -> None:
    """Write what there is of the reply, then tell how the turn ended."""
    audio = to_pcm(result.audio) if result.audio else None
    if audio:
        write_audio(output, audio, settings())
    if as_json:
        typer.echo(json.dumps(_as_json(result, output, audio), indent=2))
    elif audio:
        typer.echo(f"Wrote {output} ({audio.duration_s:.1f} s of speech).")
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
    return result.model_dump(mode="json", exclude={"audio", "failure"}) | {
        "audio": written,
        "error": result.failure.model_dump(mode="json") if result.failure else None,
    }


class _OneTurn:
    """Runs the turn, shows it, and lets it be heard."""

    def __init__(
        self, turns: AbstractAsyncContextManager[TurnSource], display: TurnProgress, terminal: Console
    ) -> None:
        self._turns = turns
        self._display = display
        self._terminal = terminal
        self._result = TurnResultBuilder()

    async def run(self, request: TurnRequest, *, play: bool) -> TurnResult:
        """Raises SpeechError if there is nobody to play the turn; a turn that fails is a result."""
        with ExitStack() as stack:
            stack.callback(self._display.close)
            loudspeaker = stack.enter_context(Loudspeaker()) if play else None
            async with self._turns as turns, aclosing(turns(request)) as events:
                result = await self._follow(events, loudspeaker)
            if loudspeaker:
                await self._hear_out(loudspeaker)
            return result

    async def _follow(
        self, events: AsyncGenerator[TurnEvent, None], loudspeaker: Loudspeaker | None
    ) -> TurnResult:
        result = None
        async for event in events:
            self._display.event(event)
            if loudspeaker and isinstance(event, SpeechChunk):
                loudspeaker.play(to_pcm(event.audio))
            result = self._result.add(event)
        assert result, "a turn ends with a TurnEnd"
        return result

    async def _hear_out(self, loudspeaker: Loudspeaker) -> None:
        try:
            await loudspeaker.played()
        except NoLoudspeaker as error:
            self._terminal.print(Text(str(error), "yellow"))
