"""TTS engines that run on a CPU: loaded, and their speech."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache

from shared.audio.pcm import Pcm
from shared.engines import TTSModel
from tests.support.paths import ROOT

MakeEngine = Callable[[], TTSModel]


@cache
def loaded(make: MakeEngine) -> TTSModel:
    """The same one for all tests of a process."""
    engine = make()
    engine.load()
    return engine


def spoken(engine: TTSModel, text: str) -> list[Pcm]:
    return list(engine.synthesize(text, threading.Event()))


def duration_s(pieces: list[Pcm]) -> float:
    return sum(piece.duration_s for piece in pieces)


def python(code: str, **environment: str) -> str:
    """What a process of its own prints; it must end well and say nothing on standard error."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return run.stdout
