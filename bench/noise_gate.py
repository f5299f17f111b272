"""How well speech is found through the gateway's noise gate: `python -m bench.noise_gate [FOLDER]`.

The questions of examples/ over noise, as a client sends them, with the VAD listening to what the gate lets
through, and to everything. FOLDER is one of recordings, S2S_RECORDINGS by default: its office ambience is one
more noise.
"""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.gateway.spoken import BLOCK_S
from bench.sounds import EXAMPLES, HZ, Samples, decibels, example, pink_noise, recorded, with_noise
from bench.tables import figures_table
from conversation.audio import Frame
from conversation.vad import OwnVad
from gateway.realtime.audio import AudioFormat
from gateway.realtime.hearing import Hearing, SpeechBegan, SpeechFinished
from shared.audio.pcm import Pcm, resample
from shared.audio.vad import FRAME_S
from shared.settings import Settings

OFFICE = "office-ambience.mp3"
SNRS_DB = (20.0, 10.0, 5.0, 0.0)
LEVELS_DB = (0.0, -25.0)
SEEDS = range(4)
"""Other moments, in another order, over other noise."""
NOISE_S, NOISE_DB = 140.0, -30.0
LATE_S = 0.3
"""What is heard so soon before or after a question is still of it."""

console = Console(width=None if Console().is_terminal else 100)


@dataclass(frozen=True)
class Spoken:
    """Sound at 16 kHz, and from when to when somebody speaks in it, in seconds."""

    samples: Samples
    speech_s: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Heard:
    """Through the gate, or all of it: how many questions were found, each how long after it began, and what
    else was taken for speech; of all frames, which part the VAD listened to."""

    gated: bool
    spoken: int
    found_s: tuple[float, ...]
    false: int
    listened: float


class _CountedVad(OwnVad):
    frames = 0

    async def probabilities(self, *frames: Frame) -> list[float]:
        self.frames += len(frames)
        return await super().probabilities(*frames)


def spoken(noise: Samples, snr_db: float, level_db: float, seed: int) -> Spoken:
    """All questions, in an order and at moments of their own, in this noise; 0 dB is as they were made."""
    chance = np.random.default_rng(seed)
    questions = [example(one.stem).samples for one in sorted(EXAMPLES.glob("*.mp3"))]
    speech, speech_s = [np.empty(0, np.float32)], []
    for number in chance.permutation(len(questions)):
        speech.append(np.zeros(round(chance.uniform(1.5, 6.0) * HZ), np.float32))
        began_s = sum(one.size for one in speech) / HZ
        speech.append(questions[number])
        speech_s.append((began_s, began_s + questions[number].size / HZ))
    speech.append(np.zeros(2 * HZ, np.float32))
    mixed = with_noise(np.concatenate(speech), np.roll(noise, seed * HZ), snr_db)
    return Spoken(mixed * decibels(level_db), tuple(speech_s))


async def heard(sound: Spoken, *, gated: bool) -> Heard:
    """What the gateway hears in it."""
    vad, now_s = _CountedVad(), 0.0
    hearing = Hearing(Settings(), lambda: vad, Settings().max_audio_s, lambda: now_s)
    utterances: list[tuple[float, float, float]] = []  # from, found, to
    samples = resample(Pcm(sound.samples, HZ), AudioFormat.PCM.sample_rate_hz).samples
    size = round(BLOCK_S * AudioFormat.PCM.sample_rate_hz)
    for block in samples[: samples.size // size * size].reshape(-1, size):
        now_s += BLOCK_S
        audio = base64.b64encode(AudioFormat.PCM.encoded(block)).decode()
        async for event in hearing.append(audio, at_once=not gated):
            match event:
                case SpeechBegan(start_ms=start_ms):
                    utterances.append((start_ms / 1000, now_s, now_s))
                case SpeechFinished(end_ms=end_ms):
                    utterances[-1] = (*utterances[-1][:2], end_ms / 1000)
    found_s = [
        min(found_s for _, found_s, _ in of_it) - began_s
        for began_s, ended_s in sound.speech_s
        if (of_it := [one for one in utterances if one[0] < ended_s and one[2] > began_s])
    ]
    false = sum(
        not any(
            one[0] < ended_s + LATE_S and one[2] > began_s - LATE_S for began_s, ended_s in sound.speech_s
        )
        for one in utterances
    )
    return Heard(gated, len(sound.speech_s), tuple(found_s), false, vad.frames * FRAME_S / now_s)


def noises(folder: Path | None) -> dict[str, Samples]:
    """By name."""
    white = np.random.default_rng(0).normal(0.0, decibels(NOISE_DB), round(NOISE_S * HZ))
    found: dict[str, Samples] = {"pink": pink_noise(NOISE_S, NOISE_DB), "white": white.astype(np.float32)}
    if folder and (folder / OFFICE).exists():
        found["office"] = recorded(folder / OFFICE)
    return found


def _main(folder: Annotated[Path | None, typer.Argument(envvar="S2S_RECORDINGS")] = None) -> None:
    table = figures_table(
        "Questions found, how long after they began, and what else was taken for speech",
        "noise", "SNR", "level", "the VAD hears", "found", "p50", "p90", "false", "of all frames",
    )  # fmt: skip
    named = noises(folder)
    cases = [((name, "-", "-"), [Spoken(noise, ())]) for name, noise in named.items()]
    for (name, noise), snr_db, level_db in product(named.items(), SNRS_DB, LEVELS_DB):
        sounds = [spoken(noise, snr_db, level_db, seed) for seed in SEEDS]
        cases.append(((name, f"{snr_db:.0f} dB", f"{level_db:.0f} dB"), sounds))
    for place, sounds in track(cases, "Listening", console=console, transient=True):
        for gated in (False, True):
            _add(table, place, [asyncio.run(heard(sound, gated=gated)) for sound in sounds])
    console.print(table)


def _add(table: Table, place: tuple[str, ...], rows: Sequence[Heard]) -> None:
    found_s = [one_s for row in rows for one_s in row.found_s]
    table.add_row(
        *place,
        "the gate's" if rows[0].gated else "all",
        f"{len(found_s)} of {sum(row.spoken for row in rows)}",
        *([f"{one_s:.2f} s" for one_s in np.percentile(found_s, (50, 90))] if found_s else ["-", "-"]),
        str(sum(row.false for row in rows)),
        f"{mean(row.listened for row in rows):.0%}",
        end_section=rows[0].gated,
    )


if __name__ == "__main__":
    typer.run(_main)
