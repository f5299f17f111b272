"""Conversations for the bench: recorded questions, and the client's own loop in real time."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile

from bench.sounds import HZ, Line, Samples, example, recording
from client.audio.echo_canceller import EchoCanceller
from client.audio.file_microphone import FileMicrophone
from client.audio.file_speaker import FileSpeaker
from client.metrics.session import Session
from client.metrics.session_summary import Summary
from conversation.conversation import SpokenTurn, Talk
from conversation.listener import Listener
from orchestrator.pipeline import Pipeline
from shared.audio.pcm import Pcm
from shared.settings import Settings
from shared.stages import Stages
from shared.turn import TurnEvent

QUESTIONS = (
    ("what-is-two-plus-two",),
    ("my-name-is-peter", "what-is-my-name"),
    ("what-time-is-it",),
    ("hello", "what-is-six-times-seven"),
)
"""Of examples/. Where there are two, the speaker pauses between them."""
PAUSE_S = 0.6
"""Long enough for a speculation, too short to end the turn."""


@dataclass(frozen=True)
class Conversed:
    """What came of a conversation; `heard` is what the speaker played at 16 kHz, from the moment at which the
    recording began."""

    turns: list[SpokenTurn]
    summary: Summary
    heard: Samples


@dataclass
class Seen:
    """A display that remembers what it was shown."""

    events: list[TurnEvent] = field(default_factory=list)
    turns: list[SpokenTurn] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)

    def listening(self, level: float) -> None:
        """Nobody speaks."""
        self._phase("listening")

    def hearing(self, level: float) -> None:
        """The person speaks."""
        self._phase("hearing")

    def speaking(self, level: float, *, paused: bool) -> None:
        """The assistant speaks, or has paused."""
        self._phase("paused" if paused else "speaking")

    def tell(self, event: TurnEvent) -> None:
        """An event of the pipeline."""
        self.events.append(event)

    def turn_over(self, turn: SpokenTurn) -> None:
        """A turn has ended."""
        self.turns.append(turn)

    def _phase(self, phase: str) -> None:
        if self.phases[-1:] != [phase]:
            self.phases.append(phase)


def questions(count: int, room_s: float, from_s: float) -> list[Line]:
    """So many questions, each this long after the end of the one before."""
    lines = []
    for names in islice(cycle(QUESTIONS), count):
        pcm = _with_pauses(names)
        lines.append((from_s, pcm))
        from_s += pcm.duration_s + room_s
    return lines


def _with_pauses(names: tuple[str, ...]) -> Pcm:
    first, *others = (example(name).samples for name in names)
    pause = np.zeros(round(PAUSE_S * HZ), np.float32)
    return Pcm(np.concatenate([first, *(part for other in others for part in (pause, other))]), HZ)


def said(lines: list[Line], room_s: float) -> Pcm:
    """The recording of these lines, over a little noise."""
    at_s, last = lines[-1]
    return recording(lines, at_s + last.duration_s + room_s)


async def converse(
    stages: Stages, said: Pcm, *, speculative: bool = True, echo: EchoCanceller | None = None
) -> Conversed:
    """Have a recording talk with the stages, in real time, to the end of both."""
    settings, seen, now = Settings(), Seen(), asyncio.get_running_loop().time
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        output = Path(folder) / "heard.wav"
        async with AsyncExitStack() as stack:
            speaker = FileSpeaker(output, sample_rate_hz=HZ, played=echo.far if echo else None)
            await stack.enter_async_context(speaker)
            microphone = await stack.enter_async_context(FileMicrophone(said))
            session = stack.enter_context(Session(now))
            turns, listener = Pipeline(stages, settings).stream, Listener(settings, now, echo=echo)
            await Talk(
                turns, microphone, speaker, session, seen, settings,
                listener=listener, speculative=speculative,
            ).run()  # fmt: skip
        heard, _ = soundfile.read(output, dtype="float32")
    return Conversed(seen.turns, session.summary(), heard)
