"""How well the ends of turns are told from pauses within a sentence, in recordings of human speech.

`python -m bench.turn_detection [FOLDER]` measures what is there of turn_ends.toml, which says where the
recordings come from; FOLDER is S2S_RECORDINGS by default.
"""

import asyncio
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench.sounds import HZ, Samples
from conversation.endpointing import Endpointer, PauseReached, UtteranceEnded
from conversation.smart_turn import MODEL_FILE, SmartTurn
from conversation.turn_detection import HEARD_S, silence_s
from services.weights import weights_folder
from services.weights.pinned import SMART_TURN
from shared.audio.decode import decode_audio
from shared.audio.pcm import resample
from shared.audio.vad import FRAME_S, FRAME_SAMPLES, VoiceActivityDetector
from shared.settings import Settings

MARKS = Path(__file__).with_name("turn_ends.toml")
FIXED_S = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0)
ANSWER_FRAMES = 3
"""How long the model takes: 0.1 s."""
NEAR_S = 0.1
"""A pause this near to a mark is the marked one: marks are the endpointer's own, of the whole recording."""
RESAMPLES = 2_000
_SETTINGS = Settings(max_utterance_s=600, max_audio_s=600)

Rule = Callable[[float], float]
"""From the model's probability that the speaker has finished, the silence that ends the turn, in seconds."""


@dataclass(frozen=True)
class Marked:
    """A recording, with the probability of speech in each of its frames, and its marks in seconds."""

    samples: Samples
    speech: tuple[float, ...]
    ends_s: tuple[float, ...]
    within_s: tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """What a rule makes of one recording."""

    pauses: int
    """Pauses within a sentence."""
    cut: int
    """Those of them in which the turn was ended."""
    waits_s: tuple[float, ...]
    """The silence that is waited for at each end of a sentence."""


@dataclass(frozen=True)
class TurnEnds:
    """What a rule makes of all recordings. The intervals are of 95 %: Wilson's for the share that is cut, a
    bootstrap over the recordings for the median wait."""

    rule: str
    recordings: int
    pauses: int
    cut: int
    cut_low: float
    cut_high: float
    ends: int
    wait_median_s: float
    wait_low_s: float
    wait_high_s: float
    wait_mean_s: float


class Answers:
    """The model's probabilities, each computed once."""

    def __init__(self, model: SmartTurn) -> None:
        self._model = model
        self._known: dict[tuple[int, int, int], float] = {}

    async def probability(self, recording: Marked, start: int, position: int) -> float:
        """Of the recording's samples between the two, of which the model hears the last ones."""
        start = max(start, position - HEARD_S * HZ)
        key = (id(recording), start, position)
        if key not in self._known:
            self._known[key] = await self._model.probability(recording.samples[start:position])
        return self._known[key]


def turn_ends(folder: Path) -> list[TurnEnds]:
    """The fixed rule and the model's curve, over the marked recordings that are there; nothing if none is."""
    recordings = marked_recordings(folder)
    return asyncio.run(_turn_ends(recordings)) if recordings else []


async def _turn_ends(recordings: Sequence[Marked]) -> list[TurnEnds]:
    async with SmartTurn(weights_folder(SMART_TURN) / MODEL_FILE) as model:
        answers = Answers(model)
        rules: list[tuple[str, Rule | None, float]] = [(f"fixed, {s:g} s", None, s) for s in FIXED_S]
        rules.append(("Smart Turn", lambda probability: silence_s(probability, _SETTINGS), 1.0))
        return [
            summed(name, [await found(one, answers, rule, fixed_s) for one in recordings])
            for name, rule, fixed_s in rules
        ]


def marked_recordings(folder: Path) -> list[Marked]:
    """Those of turn_ends.toml that are in the folder."""
    marks = tomllib.loads(MARKS.read_text())["recording"]
    return [_marked(folder / one["file"], one) for one in marks if (folder / one["file"]).exists()]


def _marked(path: Path, marks: dict[str, Any]) -> Marked:
    samples = resample(decode_audio(path.read_bytes(), _SETTINGS), HZ).samples
    samples = np.pad(samples, (0, HZ // 2 + -(samples.size + HZ // 2) % FRAME_SAMPLES))
    detector = VoiceActivityDetector()
    speech = tuple(detector.probability(frame) for frame in samples.reshape(-1, FRAME_SAMPLES))
    return Marked(samples, speech, tuple(marks["ends"]), tuple(marks["within"]))


async def found(recording: Marked, answers: Answers, rule: Rule | None, fixed_s: float) -> Found:
    """Play the recording to an endpointer: a turn that is ended begins anew with the next speech, so that the
    model then hears no more of what came before.

    At the end of a sentence the wait is the whole silence that the rule wants, though the recording may go on
    sooner.
    """
    endpointer = Endpointer(_SETTINGS.model_copy(update={"end_of_turn_silence_s": fixed_s}))
    start = until_answer = cut = 0
    silence = fixed_s
    waits_s: list[float] = []
    for position, probability in enumerate(recording.speech, start=1):
        for event in endpointer.process(probability):
            if isinstance(event, PauseReached):
                if rule:
                    finished = await answers.probability(recording, start, position * FRAME_SAMPLES)
                    silence, until_answer = rule(finished), ANSWER_FRAMES + 1
                if _is_near(event.speech_end_sample, recording.ends_s):
                    answered_s = _SETTINGS.speculation_after_s + ANSWER_FRAMES * FRAME_S
                    waits_s.append(max(silence, answered_s) if rule else silence)
            elif isinstance(event, UtteranceEnded):
                cut += _is_near(event.speech_end_sample, recording.within_s)
                start = position * FRAME_SAMPLES - round(_SETTINGS.pre_roll_s * HZ)
        until_answer -= 1
        if not until_answer:
            endpointer.end_after(silence)
    return Found(len(recording.within_s), cut, tuple(waits_s))


def _is_near(sample: int, marks_s: Iterable[float]) -> bool:
    return any(abs(sample / HZ - mark_s) < NEAR_S for mark_s in marks_s)


def summed(rule: str, by_recording: Sequence[Found]) -> TurnEnds:
    """All recordings together."""
    pauses, cut = (sum(one.pauses for one in by_recording), sum(one.cut for one in by_recording))
    waits_s = [wait_s for one in by_recording for wait_s in one.waits_s]
    cut_low, cut_high = _wilson(cut, pauses)
    wait_low_s, wait_high_s = _bootstrapped_median([one.waits_s for one in by_recording if one.waits_s])
    return TurnEnds(
        rule=rule,
        recordings=len(by_recording),
        pauses=pauses,
        cut=cut,
        cut_low=cut_low,
        cut_high=cut_high,
        ends=len(waits_s),
        wait_median_s=median(waits_s),
        wait_low_s=wait_low_s,
        wait_high_s=wait_high_s,
        wait_mean_s=mean(waits_s),
    )


def _wilson(count: int, total: int, z: float = 1.96) -> tuple[float, float]:
    share, spread = count / total, z**2 / total
    centre = share + spread / 2
    width = z * ((share * (1 - share) + spread / 4) / total) ** 0.5
    return max(0.0, (centre - width) / (1 + spread)), (centre + width) / (1 + spread)


def _bootstrapped_median(waits_s: Sequence[Sequence[float]]) -> tuple[float, float]:
    chance = np.random.default_rng(0)
    medians = [
        median(wait_s for at in chance.integers(0, len(waits_s), len(waits_s)) for wait_s in waits_s[at])
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


def turn_ends_table(rows: Sequence[TurnEnds]) -> Table:
    """Rule by rule."""
    table = Table(
        title=f"End of turn: {rows[0].pauses} pauses within sentences, {rows[0].ends} ends of sentences, in "
        f"{rows[0].recordings} recordings of human speech (in brackets: 95 % intervals)",
        title_justify="left",
    )
    for heading in ("rule", "pauses cut", "share", "wait at ends, median", "mean"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.rule,
            str(row.cut),
            f"{row.cut / row.pauses:.0%} ({row.cut_low:.0%} to {row.cut_high:.0%})",
            f"{row.wait_median_s:.2f} s ({row.wait_low_s:.2f} to {row.wait_high_s:.2f})",
            f"{row.wait_mean_s:.2f} s",
        )
    return table


def _main(folder: Annotated[Path, typer.Argument(envvar="S2S_RECORDINGS")]) -> None:
    Console().print(turn_ends_table(turn_ends(folder)))


if __name__ == "__main__":
    typer.run(_main)
