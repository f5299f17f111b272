"""The engine on the tiny model, and what it does when it speaks."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from services.tts.chatterbox import WEIGHTS, ChatterboxTTS
from shared.audio.pcm import Pcm
from shared.engines import TTSModel
from tests.engines.hub_cache import put_into_hub_cache
from tests.engines.no_network import only_loopback
from tests.engines.tiny_chatterbox import ENDLESS_T3

SENTENCE = "Hello there, how are you today?"

TOKEN_STEP = "GPT2Model"
DECODING = "UpsampleConformerEncoder"
VOCODING = "ConvRNNF0Predictor"
COMPUTING_A_VOICE = "LSTM"


@contextmanager
def hub(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
        yield


def laid_out(folder: Path, files: Path) -> Path:
    (folder / "nothing").mkdir()
    snapshot = put_into_hub_cache(folder / "hub", WEIGHTS, folder / "nothing")
    for file in files.iterdir():
        if file.name != ENDLESS_T3:
            (snapshot / file.name).symlink_to(file)
    return snapshot


def replace(link: Path, file: Path) -> None:
    link.unlink()
    link.symlink_to(file)


def loaded(engine: ChatterboxTTS) -> ChatterboxTTS:
    with only_loopback():
        engine.load()
    return engine


def speak(engine: TTSModel, text: str, seed: int = 0, voice: str | None = None) -> list[Pcm]:
    torch.manual_seed(seed)
    return list(engine.synthesize(text, threading.Event(), voice=voice))


def same(one: list[Pcm], other: list[Pcm]) -> bool:
    return [piece.samples.tolist() for piece in one] == [piece.samples.tolist() for piece in other]


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each kind of module of any torch model has done its work."""
    calls: Counter[str] = Counter()

    def count(module: torch.nn.Module, *_: object) -> None:
        calls[type(module).__name__] += 1

    with torch.nn.modules.module.register_module_forward_hook(count):
        yield calls


class SetAfter(threading.Event):
    """An event that is set once it has been looked at `looks` times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks_left = looks

    def is_set(self) -> bool:
        self.looks_left -= 1
        return self.looks_left < 0
