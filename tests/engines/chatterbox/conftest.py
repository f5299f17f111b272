"""Chatterbox Turbo in its real library, with a tiny model. Engines are loaded once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from services.tts.chatterbox import ChatterboxTTS
from tests.engines.built_models import built_model
from tests.engines.chatterbox.tiny_engine import hub, laid_out, loaded, replace
from tests.engines.tiny_chatterbox import ENDLESS_T3, build, shrink


@pytest.fixture(scope="session")
def files() -> Path:
    """The tiny model's files."""
    torch.set_num_threads(1)
    shrink()
    return built_model("chatterbox", build)


@pytest.fixture
def snapshot(files: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder of the model's files in a cache of the hub that all looks go to; like there they are
    links."""
    with hub(tmp_path):
        yield laid_out(tmp_path, files)


@pytest.fixture(scope="session")
def engine(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatterboxTTS]:
    """The engine whose speech is always of NUM_TOKENS."""
    folder = tmp_path_factory.mktemp("chatterbox")
    with hub(folder):
        laid_out(folder, files)
        made = loaded(ChatterboxTTS())
    yield made
    made.close()


@pytest.fixture(scope="session")
def endless(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatterboxTTS]:
    """The engine whose model never ends."""
    folder = tmp_path_factory.mktemp("endless")
    with hub(folder):
        replace(laid_out(folder, files) / "t3_turbo_v1.safetensors", files / ENDLESS_T3)
        made = loaded(ChatterboxTTS())
    yield made
    made.close()
