"""`s2s smoke`: call each deployed app with real input, twice: the first call may meet a cold start."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.audio.audio_file import read_audio
from client.cloud.gateway import gateway_url, start_gateway
from client.cloud.modal_connection import run_on_modal
from client.display.terminal import plain_table, print_json
from client.errors import exit_code_of
from client.targets import App
from client.turn_source import deployed_turns
from orchestrator.modal_errors import typed_errors
from orchestrator.modal_stages import ModalStages
from services.host.vad_gate import VadGate
from shared.audio.decode import to_pcm
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import join, resample
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import SpeechError, Stage, StageFailed
from shared.payloads import ChatMessage, Speech, TextDelta
from shared.settings import settings
from shared.stage_stream import AudioSegment, LLMOutput, StageItem, StageStarted, Transcript
from shared.turn import Failure, ReplyDelta, SpeechChunk, TurnCompleted, TurnEvent, TurnFailed, TurnRequest

QUESTION = Path(__file__).parents[2] / "examples" / "what-is-two-plus-two.mp3"
QUESTION_TEXT = "What is two plus two?"


@dataclass
class Call:
    """One call: the time to its first output and to its end, whether it met a cold start (None: unknown)."""

    first_ms: int
    total_ms: int
    cold: bool | None
    model: str
    text: str


@dataclass
class Check:
    """The calls of one app, and the error that ended them early."""

    app: App
    calls: list[Call] = field(default_factory=list)
    error: SpeechError | None = None


def smoke_command(apps: Sequence[App], *, as_json: bool) -> None:
    """Run the command; see `s2s smoke --help`. It ends with the first failure's exit code."""
    checks = run_on_modal(lambda: _checked(apps, Console(stderr=True)))
    if as_json:
        print_json([_as_json(check) for check in checks])
    else:
        Console().print(_table(checks))
    for check in checks:
        if check.error:
            raise typer.Exit(exit_code_of(check.error))


async def _checked(apps: Sequence[App], terminal: Console) -> list[Check]:
    caller = _Caller()
    checks = []
    with terminal.status("") as status:
        for app in apps:
            checks.append(check := Check(app))
            try:
                for which in ("first", "second"):
                    status.update(f"{app.modal_name}: {which} call …")
                    check.calls.append(await caller.call(app))
            except SpeechError as error:
                check.error = error
    return checks


class _Caller:
    """Calls the apps of a deployment."""

    def __init__(self) -> None:
        self._stages = ModalStages(settings())
        self._question = encode_mp3(read_audio(str(QUESTION), settings()), settings().mp3_bitrate_kbps)

    async def call(self, app: App) -> Call:
        """Call the app. Raises SpeechError if it fails or answers with nothing."""
        if app is App.GATEWAY:
            return await _gateway_call()
        began_s, first_ms, cold, model, text = time.perf_counter(), None, None, "", ""
        speech: list[Speech] = []
        async with aclosing(self._stream(app)) as items:
            async for item in items:
                match item:
                    case StageStarted():
                        cold, model = item.cold, item.model
                    case Transcript(text=one) | LLMOutput(delta=TextDelta(text=one)) | ReplyDelta(text=one):
                        text += one
                    case AudioSegment(audio=audio) | SpeechChunk(audio=audio):
                        speech.append(audio)
                    case TurnFailed():
                        raise item.to_error()
                    case TurnCompleted(models=models):
                        model = f"{models.asr}, {models.llm}, {models.tts}"
                if first_ms is None and (text or speech):
                    first_ms = _ms_since(began_s)
        if first_ms is None:
            raise StageFailed(f"The answer of {app} is empty.")
        return Call(first_ms, _ms_since(began_s), cold, model, _text(app, text, speech))

    def _stream(self, app: App) -> AsyncGenerator[StageItem | TurnEvent, None]:
        match app:
            case App.ASR:
                return self._stages.transcribe(self._question)
            case App.LLM:
                question = ChatMessage(role="user", content=QUESTION_TEXT)
                return self._stages.generate([question], max_tokens=50, temperature=0.0)
            case App.TTS:
                return self._stages.synthesize(QUESTION_TEXT)
        return self._turn(app)

    async def _turn(self, app: App) -> AsyncGenerator[TurnEvent, None]:
        async with (
            deployed_turns(app, settings(), lambda _: None) as turns,
            aclosing(turns(TurnRequest(audio=self._question))) as events,
        ):
            async for event in events:
                yield event


async def _gateway_call() -> Call:
    began_s = time.perf_counter()
    with typed_errors(Stage.ORCHESTRATOR, App.GATEWAY.modal_name):
        cold = await start_gateway()
        return Call(_ms_since(began_s), _ms_since(began_s), cold, "", f"ready at {await gateway_url()}")


def _text(app: App, text: str, speech: Sequence[Speech]) -> str:
    if not speech:
        return text
    pcm = join([to_pcm(one) for one in speech])
    if not VadGate().has_speech(resample(pcm, ASR_SAMPLE_RATE_HZ)):
        raise StageFailed(f"The audio of {app} contains no speech.")
    return f"{text} ({pcm.duration_s:.1f} s of speech)".strip()


def _ms_since(began_s: float) -> int:
    return round((time.perf_counter() - began_s) * 1000)


def _as_json(check: Check) -> dict[str, object]:
    error = Failure.of(check.error) if check.error else None
    return {"app": check.app.modal_name, "calls": check.calls, "error": error}


def _table(checks: Sequence[Check]) -> Table:
    table = plain_table("app", "first call", "second call", folded=("model", "answer"))
    for check in checks:
        times = [f"{call.total_ms:,} ms{' cold' if call.cold else ''}" for call in check.calls] + ["-"] * 2
        model, answer = (check.calls[-1].model, check.calls[-1].text) if check.calls else ("-", "")
        shown = Text(check.error.message, "red") if check.error else Text(answer, "green")
        table.add_row(check.app.modal_name, *times[:2], model, shown)
    return table
