"""Conversations for the bench: recorded questions, and the client's own loop in real time."""

import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile

from bench.sounds import HZ, Line, Samples, example, recording, without_silence
from client.audio.echo_canceller import EchoCanceller
from client.audio.microphone import FileMicrophone
from client.audio.speaker import FileSpeaker
from client.metrics.summary import Summary, summarized
from conversation.audio import Frame
from conversation.conversation import Conversation
from conversation.reply import SpokenTurn
from conversation.turn_detection import TurnModel
from examples.make_examples import QUESTIONS as QUESTION_TEXTS
from orchestrator.pipeline import Pipeline
from services.tts.hibari import HibariTTS
from shared.audio.pcm import Pcm, join
from shared.settings import Settings
from shared.stage_stream import Stages

QUESTIONS = (
    ("what-is-two-plus-two",),
    ("my-name-is-peter", "what-is-my-name"),
    ("what-time-is-it",),
    ("hello", "what-is-six-times-seven"),
)
"""Of examples/, by their names. Where there are two, the speaker pauses between them."""
PAUSE_S = 0.6
"""Long enough for a speculation, too short to end the turn."""


@dataclass(frozen=True)
class Conversed:
    """What came of a conversation; `played` is the speaker's audio at 16 kHz, from the moment at which the
    recording began."""

    turns: list[SpokenTurn]
    summary: Summary
    played: Samples


def questions(count: int, room_s: float, from_s: float) -> list[Line]:
    """So many questions, each this long after the end of the one before."""
    lines = []
    for names in islice(cycle(QUESTIONS), count):
        pcm = _with_pauses(names)
        lines.append((from_s, pcm))
        from_s += pcm.duration_s + room_s
    return lines


def _with_pauses(names: tuple[str, ...]) -> Pcm:
    first, *others = (spoken(name).samples for name in names)
    pause = np.zeros(round(PAUSE_S * HZ), np.float32)
    return Pcm(np.concatenate([first, *(part for other in others for part in (pause, other))]), HZ)


@cache
def spoken(name: str) -> Pcm:
    """A question of examples/ without the silence around it, in a natural voice if there is one: to turn
    detection the examples' own is nobody's."""
    if HibariTTS.missing():
        return example(name)
    voice = HibariTTS()
    voice.load()
    return without_silence(join(list(voice.synthesize(QUESTION_TEXTS[name], threading.Event()))))


def said(lines: list[Line], room_s: float) -> Pcm:
    """The recording of these lines, over a little noise."""
    at_s, last = lines[-1]
    return recording(lines, at_s + last.duration_s + room_s)


async def converse(
    stages: Stages,
    said: Pcm,
    *,
    speculative: bool = True,
    turn_model: TurnModel | None = None,
    echo: EchoCanceller | None = None,
) -> Conversed:
    """Have a recording talk with the stages, in real time, to the end of both."""
    settings, turns = Settings(), list[SpokenTurn]()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        output = Path(folder) / "played.wav"
        async with AsyncExitStack() as stack:
            speaker = FileSpeaker(output, sample_rate_hz=HZ, on_played=echo.far if echo else None)
            await stack.enter_async_context(speaker)
            microphone = await stack.enter_async_context(FileMicrophone(said))
            conversation = Conversation(
                Pipeline(stages, settings).stream,
                speaker,
                settings,
                turn_model=turn_model,
                speculative=speculative,
                on_turn=turns.append,
            )
            await conversation.run(_without_echo(microphone, echo), ended=lambda: microphone.ended)
        played, _ = soundfile.read(output, dtype="float32")
    return Conversed(turns, summarized(turn.record for turn in turns), played)


async def _without_echo(microphone: FileMicrophone, echo: EchoCanceller | None) -> AsyncIterator[Frame]:
    async for frame in microphone:
        yield Frame(echo.near(frame.samples)) if echo else frame
