"""`python -m bench.whisper_window`: Whisper's short window and its guard against the whole window, on the voices
that run here: words wrong, time, and how often the guard decodes anew. Three minutes."""

import logging
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from math import inf

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.sounds import HZ, Samples, decibels, pink_noise
from bench.word_errors import WordErrors, word_errors
from services.asr import whisper_model
from services.asr.whisper_model import WhisperModel
from services.host.vad_gate import amplified
from services.tts.espeak import EspeakTTS
from services.tts.flite import FliteTTS
from services.tts.hibari import HibariTTS
from services.weights import weights_folder
from services.weights.pinned import WHISPER_TINY_EN
from shared.audio.pcm import Pcm, join, resample
from shared.engines import TTSModel

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
ESPEAK_TIMBRES = ("Andy", "Annie", "f3", "m7", "grandma", "Mike")


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
    rounds = [_Round(utterance, short, whole) for utterance in utterances]
    groups: dict[str, list[_Round]] = {}
    for one in rounds:
        for name in (one.utterance.voice, one.utterance.condition, "all"):
            groups.setdefault(name, []).append(one)
    return [_row(name, group) for name, group in groups.items()]


def spoken() -> Iterator[Utterance]:
    """Every sentence by every voice that runs here, in one of the conditions, by turns."""
    condition = cycle(_CONDITIONS.items())
    for voice, say in _voices().items():
        for text in SENTENCES:
            name, heard = next(condition)
            yield Utterance(text, heard(say(text)), voice, name)


class _Round:
    """One utterance, both ways."""

    def __init__(self, utterance: Utterance, short: WhisperModel, whole: WhisperModel) -> None:
        self.utterance = utterance
        with _counted() as anew:
            self.short, self.short_ms = _timed(short, utterance)
        self.decoded_anew = bool(anew)
        self.whole, self.whole_ms = _timed(whole, utterance)
