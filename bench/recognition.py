"""How many words every ASR engine that runs here gets wrong: of people, of a synthetic voice, in an office's
noise, and as a telephone passes them on."""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from statistics import median
from time import perf_counter
from unittest.mock import patch

import numpy as np
from rich.table import Table

from bench.sounds import EXAMPLES, HZ, Samples, recorded, with_noise
from bench.word_errors import WordErrors, word_errors
from examples.make_examples import QUESTIONS
from services.asr.whisper import WHISPER_MODELS
from services.selection import discover
from services.weights import are_fetched
from shared.audio.pcm import Pcm, resample
from shared.engines import MODEL_REGISTRY, ASRModel
from shared.errors import Stage
from shared.settings import settings
from shared.weights import PackageWeights

LIST = Path(__file__).with_name("recordings.toml")
OFFICE = "office-ambience.mp3"
NOISE_DB = 10
TELEPHONE_HZ = 8_000


@dataclass(frozen=True)
class Spoken:
    """An utterance, and its words."""

    samples: Samples
    words: str


@dataclass(frozen=True)
class Recognition:
    """Of one engine on some speech in one condition. The time is that of one utterance, in the median."""

    engine: str
    speech: str
    condition: str
    utterances: int
    words: int
    errors: int
    error_rate: float
    median_ms: float
    real_time_factor: float


def human_speech(folder: Path | None) -> list[Spoken]:
    """Those of recordings.toml that are in the folder."""
    listed = tomllib.loads(LIST.read_text())["recording"] if folder else []
    there = [
        (folder / one["file"], one["words"]) for one in listed if folder and (folder / one["file"]).exists()
    ]
    return [Spoken(_samples(path), words) for path, words in there]


def example_speech() -> list[Spoken]:
    """The questions of examples/, which flite speaks."""
    return [Spoken(recorded(EXAMPLES / f"{name}.mp3"), words) for name, words in QUESTIONS.items()]


def _samples(path: Path) -> Samples:
    if path.suffix == ".raw":
        return (np.fromfile(path, "<i2") / 32_768).astype(np.float32)
    return recorded(path)


def conditions(folder: Path | None) -> Mapping[str, Callable[[Samples], Samples]]:
    """What is done to speech: noise needs its recording in the folder."""

    def telephone(samples: Samples) -> Samples:
        return resample(resample(Pcm(samples, HZ), TELEPHONE_HZ), HZ).samples

    found: dict[str, Callable[[Samples], Samples]] = {"clean": lambda samples: samples}
    if folder and (folder / OFFICE).exists():
        office = recorded(folder / OFFICE)
        found[f"office noise, {NOISE_DB} dB"] = lambda samples: with_noise(samples, office, NOISE_DB)
    return found | {f"{TELEPHONE_HZ // 1000} kHz": telephone}


@dataclass(frozen=True)
class Choice:
    """An engine and the settings with which it is measured."""

    name: str
    engine: type[ASRModel]
    variables: Mapping[str, str]

    @contextmanager
    def loaded(self) -> Iterator[ASRModel]:
        """The engine, until the block ends."""
        settings.cache_clear()
        with patch.dict("os.environ", self.variables):
            engine = self.engine()
            engine.load()
        try:
            yield engine
        finally:
            engine.close()
            settings.cache_clear()


def choices() -> tuple[list[Choice], list[str]]:
    """The engines that run here, whisper in each of its sizes that is here; and what else there would be,
    with what it lacks."""
    discover(Stage.ASR)
    there, lacking = [], []
    for name, model in MODEL_REGISTRY[Stage.ASR].items():
        assert issubclass(model.engine, ASRModel)
        sizes = WHISPER_MODELS if name == "whisper" else {"": model.engine.weights()}
        for size, weights in sizes.items():
            title, variables = f"{name} {size}".strip(), {"S2S_WHISPER_MODEL": size} if size else {}
            if missing := model.engine.missing():
                lacking.append(f"{name}: {missing}")
                break
            if weights is None or are_fetched(weights):
                there.append(Choice(title, model.engine, variables))
            elif isinstance(weights, PackageWeights) or not size:
                command = " ".join(
                    [f"ASR_MODEL={name}", *(f"{key}={value}" for key, value in variables.items())]
                )
                lacking.append(f"{title}: {command} s2s fetch-weights")
    return there, lacking


def recognized(
    choice: Choice,
    speech: Mapping[str, Sequence[Spoken]],
    alterations: Mapping[str, Callable[[Samples], Samples]],
    done: Callable[[], None],
) -> list[Recognition]:
    """Transcribe all speech in all conditions; `done` is called after each utterance."""
    rows = []
    with choice.loaded() as engine:
        for of, utterances in speech.items():
            for condition, altered in alterations.items():
                errors, times_s = [], []
                for one in utterances:
                    pcm = Pcm(altered(one.samples), HZ)
                    began_s = perf_counter()
                    transcript = engine.transcribe(pcm)
                    times_s.append(perf_counter() - began_s)
                    errors.append(word_errors(one.words, transcript))
                    done()
                rows.append(_row(choice.name, of, condition, utterances, errors, times_s))
    return rows


def _row(
    engine: str,
    speech: str,
    condition: str,
    utterances: Sequence[Spoken],
    errors: Sequence[WordErrors],
    times_s: Sequence[float],
) -> Recognition:
    total = reduce(add, errors)
    return Recognition(
        engine=engine,
        speech=speech,
        condition=condition,
        utterances=len(utterances),
        words=total.words,
        errors=total.errors,
        error_rate=total.rate,
        median_ms=median(times_s) * 1000,
        real_time_factor=sum(times_s) * HZ / sum(one.samples.size for one in utterances),
    )


def recognition_table(rows: Sequence[Recognition]) -> Table:
    """Engine by engine: the word error rate in each condition, and the time of a clean utterance."""
    by_condition: dict[str, list[Recognition]] = {}
    for row in rows:
        by_condition.setdefault(row.condition, []).append(row)
    table = Table(title="ASR: word error rate", title_justify="left")
    for heading in ("engine", "speech"):
        table.add_column(heading)
    for heading in ("words", *by_condition, "time, median", "× real time"):
        table.add_column(heading, justify="right")
    clean, *_ = by_condition.values()
    for each in zip(*by_condition.values(), strict=True):
        first = each[0]
        table.add_row(
            first.engine,
            first.speech,
            str(first.words),
            *(f"{row.error_rate:.1%}" for row in each),
            f"{first.median_ms:.0f} ms",
            f"{first.real_time_factor:.2f}",
            end_section=first.speech == clean[-1].speech,
        )
    return table
