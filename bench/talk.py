"""From the end of a question to the first sound of its answer: with speculation and without, and where turn
detection ends the turns.

All hear the same recording, each a part of a turn later than the one before: while one is asked, another
answers, so that they share the processor as little as can be.
"""

import asyncio
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Literal, get_args

import numpy as np

from bench.conversations import Conversed, converse, questions, said
from bench.simulated_stages import SimulatedStages
from bench.sounds import HZ, Line, Samples, voice
from client.turn_model import turn_model_of
from conversation.turn_record import TurnRecord
from orchestrator.in_process import InProcessStages
from services.selection import check_runs_here, select
from shared.audio.mp3 import encode_mp3
from shared.payloads import Mp3Audio
from shared.settings import Settings
from shared.stage_stream import Stages

REPLY = "Leave at eight. Take a coat."
SIMULATED_ROOM_S = {0.5: 4.0, 1.0: 4.5, 2.0: 6.0}
"""By how slow the stages are: from one question to the next, so that the reply has been heard out without
speculation too. They have audio after about 0.4, 0.75 and 1.5 s, of which the silence that ends a turn hides
0.75 s."""
EMBEDDED_ROOM_S = 7.0
SIMULATED_TURNS = 10
EMBEDDED_TURNS = 8
SOUND = 1e-3
"""Of full scale."""


Side = Literal["no speculation", "speculation", "turn detection"]
"""The last with speculation too."""


@dataclass(frozen=True)
class Talked:
    """One of the sides, medians over `turns`, which are those whose reply was heard out.

    A turn's target is the longer of two: the silence that ended it; and the silence before a speculation
    with the pipeline's own time to first audio, by its ledger.
    """

    stages: str
    side: Side
    asked: int
    turns: int
    silence_s: float
    """That which ended the turns."""
    first_audio_s: float
    voice_to_voice_s: float
    voice_to_voice_p95_s: float
    target_s: float
    above_target_ms: float
    above_target_max_ms: float
    as_recorded_s: float
    """From the end of what was said to the first sound of the reply, by the two recordings, so without the
    detector's estimate of that end; and with the silence, if any, with which a voice begins."""
    spoke_on: int
    """Turns that were ended though the speaker then spoke on; every other question has a pause in it."""
    kept: int
    dropped: int
    dropped_pipeline_s: float
    """How long the pipeline worked on what was dropped, all together."""


def simulated_talks(turns: int = SIMULATED_TURNS) -> list[Talked]:
    """Over simulated stages, from fast to slow."""
    rows = []
    for slowness, room_s in SIMULATED_ROOM_S.items():
        stages = SimulatedStages(REPLY, slowness=slowness, speech=_spoken)
        rows += asyncio.run(_all_sides(f"simulated × {slowness:g}", stages, turns, room_s))
    return rows


def embedded_talks(turns: int = EMBEDDED_TURNS) -> list[Talked]:
    """Over the engines that run in this process. Raises SpeechError if one of them cannot run here."""
    return asyncio.run(_embedded(turns))


async def _embedded(turns: int) -> list[Talked]:
    selection = select(Settings())
    check_runs_here(selection)
    async with InProcessStages(selection, Settings()) as engines:
        await engines.loaded(lambda _: None)
        names = " + ".join(model.name for model in selection)
        return await _all_sides(names, engines, turns, EMBEDDED_ROOM_S)


async def _all_sides(name: str, stages: Stages, turns: int, room_s: float) -> list[Talked]:
    async with turn_model_of(Settings(turn_detection="smart")) as turn_model:

        async def talk(number: int, side: Side) -> Talked:
            lines = questions(turns, room_s, 0.5 + number * room_s / len(get_args(Side)))
            conversed = await converse(
                stages,
                said(lines, room_s),
                speculative=side != "no speculation",
                turn_model=turn_model if side == "turn detection" else None,
            )
            return _talked(name, lines, conversed, side)

        return await asyncio.gather(*(talk(number, side) for number, side in enumerate(get_args(Side))))


def _talked(name: str, lines: list[Line], conversed: Conversed, side: Side) -> Talked:
    times = [_times(turn.record) for turn in conversed.turns if turn.record.outcome == "completed"]
    assert times, "no reply was heard out: the machine is too busy, or too slow for these stages"
    silences_s, first_audio_s, heard_s, targets_s = zip(*times, strict=True)
    above_ms = [(total_s - target_s) * 1000 for total_s, target_s in zip(heard_s, targets_s, strict=True)]
    sums = conversed.summary
    return Talked(
        stages=name,
        side=side,
        asked=len(lines),
        turns=len(times),
        silence_s=median(silences_s),
        first_audio_s=median(first_audio_s),
        voice_to_voice_s=median(heard_s),
        voice_to_voice_p95_s=float(np.percentile(heard_s, 95)),
        target_s=median(targets_s),
        above_target_ms=median(above_ms),
        above_target_max_ms=max(above_ms),
        as_recorded_s=median(_answered_after_s(lines, conversed.played)),
        spoke_on=sum(ends.spoke_on for ends in sums.ends_of_turn),
        kept=sums.speculations_kept,
        dropped=sums.requests_dropped,
        dropped_pipeline_s=sums.dropped_pipeline_us / 1e6,
    )


def _times(record: TurnRecord) -> tuple[float, float, float, float]:
    """Of a turn that was heard out, in seconds: the silence that ended it, the pipeline's time to first
    audio, voice-to-voice, target."""
    assert record.ledger
    assert record.voice_to_voice
    silence_s = record.ends[-1].silence_us / 1e6
    first_audio_s = (record.ledger.time_to_first_audio_us or 0) / 1e6
    target_s = max(silence_s, Settings().speculation_after_s + first_audio_s)
    return silence_s, first_audio_s, record.voice_to_voice.total_us / 1e6, target_s


def _answered_after_s(lines: list[Line], heard: Samples) -> list[float]:
    """From the end of each line to the next sound, if there is one."""
    sounds_s = np.flatnonzero(np.abs(heard) > SOUND) / HZ
    ends_s = [at_s + pcm.duration_s for at_s, pcm in lines]
    return [float(later[0]) - end_s for end_s in ends_s if (later := sounds_s[sounds_s > end_s]).size]


@cache
def _spoken(duration_s: float) -> Mp3Audio:
    """Sound like speech, as it comes from a deployed TTS."""
    return encode_mp3(voice(round(duration_s * 24_000), 24_000))
