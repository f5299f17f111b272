"""Chatterbox Turbo in its real library, with a tiny model."""

import asyncio
import logging
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import perth
import pytest
import soundfile
import torch

from services.stage_host import TTSHost
from services.tts.chatterbox import SAMPLE_RATE_HZ, WEIGHTS, ChatterboxTTS
from services.tts.chatterbox_text import longest_s
from shared.errors import EngineLoadFailed, Misconfigured, StageFailed, WeightsMissing
from shared.pcm import Pcm, join
from shared.settings import Settings, settings
from shared.stage_stream import SpeechPiece, StageStarted
from tests.engines.built_models import built_model
from tests.engines.hub_cache import put_into_hub_cache
from tests.engines.no_network import only_loopback
from tests.engines.tiny_chatterbox import ENDLESS_T3, NUM_TOKENS, build, shrink
from tests.sounds import voice

T3_FORWARD = "GPT2Model"
SENTENCE = "Hello there, how are you today?"
TOKEN_SAMPLES = SAMPLE_RATE_HZ // 25
Work = Counter[str]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    shrink()


@pytest.fixture(scope="module")
def files() -> Path:
    return built_model("chatterbox", build)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def snapshot(cache: Path, files: Path, tmp_path: Path) -> Path:
    """The model's folder in the cache; like there, its files are links."""
    (tmp_path / "nothing").mkdir()
    folder = put_into_hub_cache(cache, WEIGHTS, tmp_path / "nothing")
    for file in files.iterdir():
        if file.name != ENDLESS_T3:
            (folder / file.name).symlink_to(file)
    return folder


def replace(snapshot: Path, name: str, file: Path) -> None:
    (snapshot / name).unlink()
    (snapshot / name).symlink_to(file)


@pytest.fixture(scope="module")
def loaded(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], ChatterboxTTS]]:
    """Makes the engine that speaks a word's length, or the endless one; once each."""
    made: dict[bool, ChatterboxTTS] = {}

    def load(endless: bool) -> ChatterboxTTS:
        if endless not in made:
            with pytest.MonkeyPatch.context() as patch:
                folder = tmp_path_factory.mktemp("chatterbox")
                hub = cache.__wrapped__(folder, patch)  # type: ignore[attr-defined]
                inside = snapshot.__wrapped__(hub, files, folder)  # type: ignore[attr-defined]
                if endless:
                    replace(inside, "t3_turbo_v1.safetensors", files / ENDLESS_T3)
                made[endless] = ChatterboxTTS()
                with only_loopback():
                    made[endless].load()
        return made[endless]

    yield load
    for engine in made.values():
        engine.close()
