"""`python -m bench.whisper_window`: Whisper's short window and its guard against the whole window.

On the voices that run here: words wrong, time, and how often the guard decodes anew. Three minutes.
"""

import logging
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle

from rich.console import Console
from rich.table import Table

from bench.sounds import HZ, Samples, pink_noise, with_noise
from bench.word_errors import WordErrors, word_errors
from services.asr.whisper_model import DECODED_ANEW, WhisperModel, logger
from services.host.vad_gate import amplified
from services.selection import discover
from services.tts.espeak import EspeakTTS
from services.weights import weights_folder
from services.weights.pinned import WHISPER_TINY_EN
from shared.audio.pcm import Pcm, join, resample
from shared.engines import MODEL_REGISTRY, TTSModel
from shared.errors import Stage

SENTENCES = (
    "What is the weather like in Berlin tomorrow?",
    "Could you set a timer for twenty five minutes, please?",
    "Stop.",
    "I would like to book a table for four people at half past seven.",
    "No, I meant the other one.",
    "Tell me a short story about a dragon who was afraid of fire.",
    "How far is it from London to Edinburgh by train?",
    "What is seventeen times six?",
    "Can you explain, in simple words, why the sky is blue during the day and red in the evening?",
    "Yes please.",
    "Remind me to call my mother on Sunday afternoon.",
    "I have a meeting with Doctor Brown at nine, then lunch, and after that nothing until the evening.",
    "Which is bigger, the Atlantic or the Pacific?",
    "Please read my last message again, a little slower.",
)
ACCENTS = ("en-us", "en-GB-scotland", "en-GB-x-rp", "en-029", "en-GB-x-gbclan")
TIMBRES = ("Andy", "f3", "m7")
"""Of eSpeak's hundred voices those that are tried."""


@dataclass(frozen=True)
class Utterance:
    """What is said, and its 16 kHz sound; who says it, and in what condition it comes."""

    text: str
    samples: Samples
    voice: str
    condition: str


@dataclass(frozen=True)
class WindowRow:
    """The short window with its guard beside the whole one, over utterances of one voice or condition."""

    name: str
    utterances: int
    short: WordErrors
    whole: WordErrors
    decoded_anew: int
    short_ms: float
    """The median over the utterances, as is `whole_ms`."""
    whole_ms: float


def windows_compared(utterances: Iterable[Utterance]) -> list[WindowRow]:
    """A row for each voice, one for each condition, and one for all."""
    folder = weights_folder(WHISPER_TINY_EN)
    short, whole = WhisperModel(folder), WhisperModel(folder, short_utterance_s=0.0)
    heard = [_heard(utterance, short, whole) for utterance in utterances]
    groups: dict[str, list[_Heard]] = {}
    for one in heard:
        for name in (one.utterance.voice, one.utterance.condition, "all"):
            groups.setdefault(name, []).append(one)
    return [_row(name, group) for name, group in groups.items()]


def spoken() -> Iterator[Utterance]:
    """Every sentence by every voice that runs here, in one of the conditions, by turns."""
    conditions = cycle(_CONDITIONS.items())
    for voice, say in _voices():
        for text in SENTENCES:
            condition, through = next(conditions)
            yield Utterance(text, through(say(text)), voice, condition)


@dataclass(frozen=True)
class _Heard:
    """One utterance, both ways."""

    utterance: Utterance
    short: WordErrors
    whole: WordErrors
    decoded_anew: bool
    short_ms: float
    whole_ms: float


def _heard(utterance: Utterance, short: WhisperModel, whole: WhisperModel) -> _Heard:
    anew = _Counter()
    logger.setLevel(logging.DEBUG)
    logger.addHandler(anew)
    short_text, short_ms = _timed(short, utterance)
    logger.removeHandler(anew)
    whole_text, whole_ms = _timed(whole, utterance)
    return _Heard(
        utterance,
        word_errors(utterance.text, short_text),
        word_errors(utterance.text, whole_text),
        anew.seen,
        short_ms,
        whole_ms,
    )


class _Counter(logging.Handler):
    """Sees whether the guard decoded anew."""

    seen = False

    def emit(self, record: logging.LogRecord) -> None:
        self.seen |= record.msg == DECODED_ANEW


def _timed(model: WhisperModel, utterance: Utterance) -> tuple[str, float]:
    began_s = time.perf_counter()
    text = model.text(amplified(utterance.samples), language="en")
    return text, 1000 * (time.perf_counter() - began_s)


def _row(name: str, group: list[_Heard]) -> WindowRow:
    return WindowRow(
        name,
        len(group),
        sum((one.short for one in group), WordErrors()),
        sum((one.whole for one in group), WordErrors()),
        sum(one.decoded_anew for one in group),
        statistics.median(one.short_ms for one in group),
        statistics.median(one.whole_ms for one in group),
    )


def _voices() -> Iterator[tuple[str, Callable[[str], Samples]]]:
    discover(Stage.TTS)
    for name, model in MODEL_REGISTRY[Stage.TTS].items():
        if model.spec.gpu or model.engine.missing():
            continue
        engine = model.engine()
        assert isinstance(engine, TTSModel)
        engine.load()
        if isinstance(engine, EspeakTTS):
            assert engine._library
            engine._library.languages.update({accent: accent for accent in ACCENTS})  # no request names them
            yield from ((f"espeak {accent}", _sayer(engine, None, accent)) for accent in ACCENTS)
        for voice in TIMBRES if name == "espeak" else engine.voices or (None,):
            yield f"{name} {voice or ''}".strip(), _sayer(engine, voice)
        engine.close()


def _sayer(engine: TTSModel, voice: str | None, language: str | None = None) -> Callable[[str], Samples]:
    def say(text: str) -> Samples:
        segments = engine.synthesize(text, threading.Event(), voice=voice, language=language)
        return resample(join(list(segments)), HZ).samples

    return say


def _in_noise(samples: Samples) -> Samples:
    return with_noise(samples, pink_noise(samples.size / HZ, -20), 10)


def _by_telephone(samples: Samples) -> Samples:
    return resample(resample(Pcm(samples, HZ), 8_000), HZ).samples


def _at_speed(factor: float) -> Callable[[Samples], Samples]:
    return lambda samples: resample(Pcm(samples, round(HZ * factor)), HZ).samples


_CONDITIONS: dict[str, Callable[[Samples], Samples]] = {
    "clean": lambda samples: samples,
    "noise at 10 dB": _in_noise,
    "8 kHz": _by_telephone,
    "1.25 times as fast": _at_speed(1.25),
    "0.8 times as fast": _at_speed(0.8),
}


def main() -> None:
    """Print the table."""
    table = Table("", "utterances", "words wrong: short", "whole", "decoded anew", "ms: short", "whole")
    for row in windows_compared(spoken()):
        errors = (f"{100 * errors.rate:.1f} %" for errors in (row.short, row.whole))
        times = (f"{ms:.0f}" for ms in (row.short_ms, row.whole_ms))
        table.add_row(row.name, str(row.utterances), *errors, str(row.decoded_anew), *times)
    Console().print(table)


if __name__ == "__main__":
    main()
