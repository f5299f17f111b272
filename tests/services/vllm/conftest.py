"""vllm, phi3 and llama on a stand-in for `vllm serve`. On vLLM itself they are tested in tests/engines."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.llm.vllm import AnyOnVllm, Llama, Phi3
from shared.settings import settings
from tests.engines.hub_cache import put_into_hub_cache
from tests.support.paths import ROOT


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets environment variables. The weights of all models are there, and vLLM is the stand-in."""
    import huggingface_hub.constants

    def set_variables(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.cache_clear()

    files = tmp_path / "files"
    files.mkdir()
    for name in ("config.json", "model.safetensors"):
        (files / name).write_text("{}")
    for engine in (AnyOnVllm, Phi3, Llama):
        put_into_hub_cache(tmp_path / "hub", engine.weights(), files)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    set_variables(PYTHONPATH=f"{ROOT}:{ROOT / 'tests' / 'support' / 'stand_in'}")
    yield set_variables
    settings.cache_clear()
