"""vLLM on this machine's CPU, and weights in a hub cache of its own. Engines are loaded once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.llm.vllm import Phi3
from shared.settings import settings
from tests.engines.built_models import built_model
from tests.engines.hub_cache import put_into_hub_cache, use_hub_cache
from tests.engines.loopback_only import loopback_only
from tests.engines.vllm.loaded_vllm import BUILDERS, Loaded
from tests.engines.vllm_on_cpu import ENVIRON, FLAGS

CHOSEN = {"S2S_LLM_REPOSITORY": "somebody/tiny-model", "S2S_LLM_REVISION": "v1"}
"""What LLM_MODEL=vllm serves."""


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The hub cache, here and in programs that are started, with the tiny models."""
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRON, "S2S_VLLM_FLAGS": FLAGS, **CHOSEN}.items():
            patch.setenv(name, value)
        use_hub_cache(folder, patch)
        settings.cache_clear()
        for engine, build in BUILDERS.items():
            put_into_hub_cache(folder, engine.weights(), built_model(build.__name__, build))
        yield folder
    settings.cache_clear()


@pytest.fixture(scope="session")
def phi3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """Phi3, loaded where nothing but this machine can be reached."""
    with loopback_only(tmp_path_factory.mktemp("loopback")) as tried:
        loaded = Loaded(Phi3(), tried)
        yield loaded
        loaded.engine.close()
