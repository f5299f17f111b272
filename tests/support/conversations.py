"""Spoken conversations for tests: one side is a recording, the other scripted stages, on a virtual clock."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.sounds import HZ, example
from client.audio.microphone import FileMicrophone
from client.audio.speaker import FileSpeaker
from client.metrics.summary import Summary, summarized
from conversation.conversation import Conversation, Phase
from conversation.reply import SpokenTurn
from conversation.turn_detection import TurnModel
from orchestrator.pipeline import Pipeline
from shared.audio.pcm import Pcm
from shared.settings import Settings
from shared.turn import TurnEvent
from tests.support.scripted_stages import Cast, cast, typed

QUESTION = example("what-is-two-plus-two")
OTHER_QUESTION = example("what-is-six-times-seven")
HELLO = example("hello")
MM_HM = Pcm(QUESTION.samples[: round(0.3 * HZ)].copy(), HZ)
LONG_REPLY = "The sun is out today. It will stay dry until the evening. Take a hat with you. Enjoy it."
TIME_TO_NOTICE_S = 0.05


@dataclass
class Seen:
    """What a conversation reported."""

    events: list[TurnEvent] = field(default_factory=list)
    turns: list[SpokenTurn] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)

    def phase(self, phase: Phase, level: float) -> None:
        if self.phases[-1:] != [phase]:
            self.phases.append(phase)


@dataclass
class Conversed:
    """What came of a conversation."""

    seen: Seen
    played: NDArray[np.float32]
    """What the speaker played, from the beginning, at 16 kHz."""

    @property
    def summary(self) -> Summary:
        return summarized(turn.record for turn in self.turns)

    @property
    def turns(self) -> list[SpokenTurn]:
        return self.seen.turns

    @property
    def outcomes(self) -> list[str]:
        return [turn.record.outcome for turn in self.turns]

    def voice_to_voice_s(self, turn: int = 0) -> float:
        spans = self.turns[turn].record.voice_to_voice
        assert spans
        return spans.total_us / 1e6

    def sound_in(self, start_s: float, end_s: float) -> float:
        """For how many seconds of this time something was played."""
        part = self.played[round(start_s * HZ) : round(end_s * HZ)]
        return float(np.count_nonzero(np.abs(part) > 1e-3)) / HZ


async def converse(
    said: Pcm,
    cast: Cast,
    folder: Path,
    *,
    turn_model: TurnModel | None = None,
    speculative: bool = True,
    hang_up_at_s: float | None = None,
    **settings: float,
) -> Conversed:
    """Have a recording talk with scripted stages, to its end or until somebody hangs up."""
    chosen, seen = Settings(**settings), Seen()  # type: ignore[arg-type]
    output = folder / "played.wav"
    async with FileMicrophone(said) as microphone, FileSpeaker(output, sample_rate_hz=HZ) as speaker:
        conversation = Conversation(
            Pipeline(cast, chosen).stream,
            speaker,
            chosen,
            turn_model=turn_model,
            speculative=speculative,
            on_phase=seen.phase,
            on_event=seen.events.append,
            on_turn=seen.turns.append,
        )
        try:
            async with asyncio.timeout(hang_up_at_s):
                await conversation.run(microphone, ended=lambda: microphone.ended)
        except TimeoutError:
            pass
    played, _ = soundfile.read(output, dtype="float32")
    return Conversed(seen, played)


Talking = Callable[..., Conversed]


def answering(*replies: str, asr_s: float = 0.1) -> Cast:
    texts = [f"question {number}" for number in range(1, 9)]
    return cast(asr=[[asr_s, text] for text in texts], llm=[typed(reply) for reply in replies])
