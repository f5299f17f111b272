"""The engines of the mission with their tiny models, for tests that deploy them to a control plane.

Apps, images, settings and weights are a user's own: weights are fetched from a hub, into the Volume, under
their real names and revisions. Only they are tiny, and containers get the packages of a machine without GPU.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from local_cloud import ControlPlane, Machine
from local_cloud.cpu_packages import pinned_packages
from local_cloud.virtual_environments import Contents
from services.asr.nemo import WEIGHTS as NEMO
from services.llm.vllm import Phi3
from services.tts.chatterbox import WEIGHTS as CHATTERBOX
from tests.engines.cpu_substitutions import on_cpu
from tests.engines.environments import engines_cache, environment_of
from tests.engines.tiny_chatterbox import ENDLESS_T3, SITE_FILES
from tests.engines.vllm_on_cpu import ENVIRON, FLAGS
from tests.support.local_hub import File, Hub, local_hub
from tests.support.paths import ROOT

SETTINGS = {
    "ASR_MODEL": "nemo",
    "LLM_MODEL": "phi3",
    "TTS_MODEL": "chatterbox",
    "S2S_VLLM_FLAGS": FLAGS,
    # Each container holds gigabytes of libraries, this is one machine, and it may start them slowly.
    **{f"S2S_{stage}_MAX_CONTAINERS": "1" for stage in ("ASR", "LLM", "TTS")},
    **{f"S2S_{stage}_SCALEDOWN_WINDOW_S": "1800" for stage in ("ASR", "LLM", "TTS")},
    "S2S_CALL_TIMEOUT_S": "1200",
    "S2S_MAX_REPLY_TOKENS": "3000",  # a reply that does not end lasts for a second and more
    "S2S_MAX_REPLY_CHARACTERS": "20000",
}
"""With which the apps are deployed; S2S_HUB_URL besides."""


def plane_without_gpu() -> ControlPlane:
    """A control plane whose containers need no GPU, with environments that are kept between runs."""
    return ControlPlane(cache=engines_cache(), machine=Machine(without_gpu, ENVIRON))


@contextmanager
def tiny_weights() -> Iterator[Hub]:
    """A hub with the tiny models in the place of the real ones; they are built if they are not there."""
    repositories: dict[str, Mapping[str, File]] = {
        NEMO.repository: {"tone.nemo": ROOT / "tests" / "engines" / "data" / "tone.nemo"},
        Phi3.weights().repository: _built("llm-vllm.txt", "build_phi3", "tiny_llm", "build_phi3"),
        CHATTERBOX.repository: _built("tts-chatterbox.txt", "chatterbox", "tiny_chatterbox", "build"),
    }
    with local_hub(repositories) as hub:
        yield hub


def without_gpu(asked: Contents) -> Contents:
    """What becomes of an engine's environment: that of a machine without a GPU, with the tiny Chatterbox's
    architecture in the place of the real one."""
    contents = on_cpu(asked)
    pins = {name for _, text in asked.requirement_files for name in pinned_packages(text.decode())}
    if "chatterbox-tts" not in pins:
        return contents
    tiny = tuple((path, text.encode()) for path, text in SITE_FILES.items())
    return replace(contents, site_files=contents.site_files + tiny)


def _built(lock: str, name: str, module: str, function: str) -> dict[str, File]:
    """The files of a model, built in the environment of its lock file."""
    environment = environment_of(lock)
    command = [str(environment.interpreter()), "-m", "tests.engines.built_models"]
    done = subprocess.run(
        [*command, name, f"tests.engines.{module}", function],
        env=environment.environ(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    folder = Path(done.stdout.splitlines()[-1])
    return {file.name: file for file in folder.iterdir() if file.name != ENDLESS_T3}
