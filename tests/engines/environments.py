"""The environment of each group of engine tests: its engine's lock file without a GPU, and the test tools."""

from dataclasses import dataclass
from pathlib import Path

from services.image_locks import BASE_PYTHON
from tests.engines.cpu_substitutions import on_cpu, pinned_packages
from tests.virtual_environments import Contents, EnvironmentFailed

PROJECT = Path(__file__).parents[2]
ENVIRONMENTS = PROJECT / ".engines"
"""Where environments and built models are kept between runs."""

_DEVELOPMENT_LOCK = PROJECT / "locks" / "development.txt"
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


@dataclass(frozen=True)
class Group:
    """Tests that run in one environment, that of a lock file."""

    name: str
    lock: str
    tests: tuple[str, ...]


GROUPS = {
    group.name: group
    for group in (
        Group("nemo", "asr-nemo.txt", ("test_nemo.py",)),
        Group("whisper", "asr-whisper.txt", ("test_whisper.py", "test_weights.py")),
        Group("vllm", "llm-phi3.txt", ("test_vllm.py",)),
        Group("chatterbox", "tts-chatterbox.txt", ("test_chatterbox.py",)),
    )
}


def contents(group: Group) -> Contents:
    """What its environment is made of. Raises EnvironmentFailed if its lock file is not there."""
    lock = PROJECT / "locks" / group.lock
    if not lock.exists():
        raise EnvironmentFailed(f"locks/{group.lock} does not exist. Run: make lock")
    requirements = lock.read_text()
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
