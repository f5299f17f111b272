"""A turn through the deployed apps against the same engines in process.

The deployment is on the local cloud: its scheduler and its loopback network are not Modal's, and
it shares this machine with all that it serves. So the figures bound our own part (three calls more, MP3
between processes), and say nothing about Modal's latency.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from bench import timed_engines
from bench.sounds import EXAMPLES
from bench.timed_engines import TimedASR, TimedLLM, TimedTTS
from client.targets import App
from client.turn_source import deployed_turns
from local_cloud import DEFAULT_CACHE, ControlPlane
from orchestrator.in_process import InProcessStages
from orchestrator.pipeline import Pipeline
from services.selection import Selection
from shared.audio.decode import decode_audio
from shared.audio.mp3 import encode_mp3
from shared.engines import Engine, RegisteredModel
from shared.errors import Stage
from shared.settings import Settings
from shared.turn import SpeechChunk, TurnEvent, TurnFailed, TurnRequest

ROUNDS = 5
PROJECT = Path(__file__).parents[1]
SOURCES = ("shared", "services", "orchestrator", "locks")
ENGINES: dict[Stage, type[Engine]] = {Stage.ASR: TimedASR, Stage.LLM: TimedLLM, Stage.TTS: TimedTTS}

_MODULE = """
from services.timed_engines import SPEC, {base}
from shared.engines import register_model

@register_model("{stage}", "timed", SPEC)
class Timed({base}):
    '''The same.'''
"""


@dataclass(frozen=True)
class Played:
    """Where a turn was played, and its medians in seconds from the request; warm."""

    where: str
    first_audio_s: float
    total_s: float


Turns = Callable[[TurnRequest], AsyncGenerator[TurnEvent, None]]


def deployed_and_in_process(rounds: int = ROUNDS) -> list[Played]:
    """Both, taking turns: in process first. Needs the library modal, whose client keeps the connection to the
    local cloud: measure in a process of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        ControlPlane(cache=DEFAULT_CACHE) as plane,
        patch.dict(os.environ, plane.environ),
    ):
        _deploy(Path(folder))
        return asyncio.run(_both(rounds))


def _deploy(folder: Path) -> None:
    """A copy of the project, with these engines in it."""
    for name in SOURCES:
        shutil.copytree(PROJECT / name, folder / name)
    shutil.copy(timed_engines.__file__, folder / "services")
    for stage, engine in ENGINES.items():
        module = _MODULE.format(base=engine.__name__, stage=stage)
        (folder / "services" / stage / "timed.py").write_text(module)
    models = {f"{stage.upper()}_MODEL": "timed" for stage in ENGINES}
    for module in ("services.asr_app", "services.llm_app", "services.tts_app", "orchestrator.app"):
        command = [sys.executable, "-m", "modal", "deploy", "-m", module]
        environ = os.environ | models | {"PYTHONPATH": str(folder)}
        subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)


async def _both(rounds: int) -> list[Played]:
    settings = Settings()
    selection = Selection(*(RegisteredModel(stage, "timed", engine) for stage, engine in ENGINES.items()))
    async with (
        InProcessStages(selection, settings) as engines,
        deployed_turns(App.ORCHESTRATOR, settings, lambda _: None) as deployed,
    ):
        sides: dict[str, Turns] = {
            "in process": Pipeline(engines, settings).stream,
            "local cloud": deployed,
        }
        times: dict[str, list[tuple[float, float]]] = {where: [] for where in sides}
        for round_ in range(rounds + 1):
            for where, turns in sides.items():
                played = await _times(turns)
                if round_:  # the first is the warm-up, with the cold starts
                    times[where].append(played)
    return [
        Played(where, *(statistics.median(one) for one in zip(*own, strict=True)))
        for where, own in times.items()
    ]


async def _times(turns: Turns) -> tuple[float, float]:
    """Seconds to first audio and to the end."""
    question = decode_audio((EXAMPLES / "what-is-two-plus-two.mp3").read_bytes(), Settings())
    request = TurnRequest(audio=encode_mp3(question))
    began_s, first_s = time.perf_counter(), None
    async with aclosing(turns(request)) as events:
        async for event in events:
            assert not isinstance(event, TurnFailed), event
            if isinstance(event, SpeechChunk) and first_s is None:
                first_s = time.perf_counter() - began_s
    assert first_s is not None, "the turn was answered"
    return first_s, time.perf_counter() - began_s
