"""Spoken conversations for tests: one side is a recording, the other scripted stages, on a virtual clock."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.conversations import Seen
from bench.sounds import HZ
from client.audio.file_microphone import FileMicrophone
from client.audio.file_speaker import FileSpeaker
from client.metrics.session import Session
from client.metrics.session_summary import Summary
from conversation.conversation import SpokenTurn, Talk
from conversation.listener import Listener
from orchestrator.pipeline import Pipeline
from shared.audio.pcm import Pcm
from shared.settings import Settings
from tests.support.scripted_stages import Cast


@dataclass
class Conversed:
    """What came of a conversation."""

    seen: Seen
    summary: Summary
    heard: NDArray[np.float32]
    """What the speaker played, from the beginning, at 16 kHz."""

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
        part = self.heard[round(start_s * HZ) : round(end_s * HZ)]
        return float(np.count_nonzero(np.abs(part) > 1e-3)) / HZ


async def converse(
    said: Pcm,
    cast: Cast,
    folder: Path,
    *,
    speculative: bool = True,
    hang_up_at_s: float | None = None,
    **settings: float,
) -> Conversed:
    """Have a recording talk with scripted stages, to its end or until somebody hangs up."""
    chosen, seen = Settings(**settings), Seen()  # type: ignore[arg-type]
    now = asyncio.get_running_loop().time
    output = folder / "heard.wav"
    async with FileMicrophone(said) as microphone, FileSpeaker(output, sample_rate_hz=HZ) as speaker:
        with Session(now) as session:
            talk = Talk(
                Pipeline(cast, chosen).stream,
                microphone,
                speaker,
                session,
                seen,
                chosen,
                listener=Listener(chosen, now),
                speculative=speculative,
            )
            try:
                async with asyncio.timeout(hang_up_at_s):
                    await talk.run()
            except TimeoutError:
                pass
    heard, _ = soundfile.read(output, dtype="float32")
    return Conversed(seen, session.summary(), heard)
