"""What the apps ask of Modal, as the control plane received it, and what is refused before it is asked."""

from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from client.errors import ExitCode
from local_cloud import FunctionView, ImageView
from services.on_modal.image_locks import BASE_LOCK, LOCKS, TELEMETRY_LOCK, lock_file
from services.selection import discover
from shared.deployment import APPS, CLASSES
from shared.engines import MODEL_REGISTRY
from shared.errors import Stage
from tests.support.control_plane_programs import Cloud
from tests.support.deployed_project import Project, project_in

GRAND = """
from collections.abc import Iterator
import threading
from shared.engines import EngineSpec, TTSModel, register_model
from shared.weights import HubWeights
from shared.audio.pcm import Pcm

@register_model("tts", "grand", EngineSpec(
    summary="Asks for everything.", licence="MIT", gpu="A10G", packages=("idna==3.10",),
    apt_packages=("libflite1", "sox"), python_version="3.12", concurrent_inputs=4,
    weights=HubWeights(repository="someone/voice", revision="abc123"), secrets=("GRAND_API_KEY",),
    memory_snapshot=True, gpu_snapshot=True,
))
class Grand(TTSModel):
    model_name = "Grand"
    def load(self) -> None: ...
    def synthesize(
        self, text: str, cancelled: threading.Event, **options: str | None
    ) -> Iterator[Pcm]:
        yield from ()
"""
NOT_DEFAULT = {
    "S2S_MAX_REPLY_TOKENS": "77",
    "S2S_TTS_CONCURRENT_INPUTS": "3",
    "S2S_TTS_MAX_CONTAINERS": "5",
    "S2S_REGION": "eu",
    "S2S_WHISPER_MODEL": "base",
    "S2S_SPEAKER_LATENCY_S": "0.1",
}
LOOSE = GRAND.replace("idna==3.10", "idna>=3").replace('"grand"', '"loose"').replace("Grand", "Loose")
KEYLESS = GRAND.replace("GRAND_API", "OTHER").replace('"grand"', '"keyless"').replace("Grand", "Keyless")


@pytest.fixture(scope="module")
def project(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = project_in(tmp_path_factory.mktemp("project"), cloud)
    made.add_engine(Stage.TTS, "grand", GRAND)
    made.add_engine(Stage.TTS, "loose", LOOSE)
    made.add_engine(Stage.TTS, "keyless", KEYLESS)
    cloud.plane.create_secret("grand-api-key", {"GRAND_API_KEY": "k"})
    return made


@pytest.fixture(scope="module")
def grand(project: Project) -> FunctionView:
    project.deploy(Stage.TTS, TTS_MODEL="grand")
    return project.cloud.plane.app("speech-to-speech-tts").cls("TTS")


def test_the_gpu_the_weights_and_the_secret_are_those_of_the_engine(grand: FunctionView) -> None:
    assert (grand.gpu, grand.gpu_count) == ("A10G", 1)
    assert grand.volumes == {"/weights": "speech-to-speech-weights"}
    assert grand.secrets == ("grand-api-key",)


def test_the_snapshot_is_of_the_memory_and_of_the_gpu_only_where_a_setting_asks_for_it(
    grand: FunctionView, project: Project
) -> None:
    assert (grand.memory_snapshot, grand.gpu_snapshot) == (True, False)
    project.deploy(Stage.TTS, TTS_MODEL="grand", S2S_TTS_SNAPSHOT="gpu")
    tts = project.cloud.plane.app("speech-to-speech-tts").cls("TTS")
    assert (tts.memory_snapshot, tts.gpu_snapshot) == (True, True)


def test_a_container_takes_what_its_engine_works_on_and_one_call_more(grand: FunctionView) -> None:
    assert (grand.target_inputs, grand.max_inputs) == (4, 5)


def test_windows_counts_and_time_outs_have_defaults_that_cost_nothing_at_rest(grand: FunctionView) -> None:
    assert (grand.min_containers, grand.max_containers, grand.buffer_containers) == (0, 10, 0)
    assert (grand.scaledown_window_s, grand.timeout_s, grand.startup_timeout_s) == (300, 300, 600)
    assert (grand.regions, grand.routing_region) == ((), None)


def test_the_image_goes_from_what_changes_rarely_to_what_changes_often(grand: FunctionView) -> None:
    text = "\n".join(grand.image.commands)
    parts = ["python:3.12", "libflite1 sox", "uv pip install", "idna==3.10", "ENV "]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "shared" not in text  # sources are mounted, not built in
    assert {path.split("/")[2] for path in grand.mounted} == {"services", "shared"}


def test_the_settings_that_a_container_reads_are_baked_and_nothing_secret_is(project: Project) -> None:
    project.deploy(Stage.TTS, TTS_MODEL="grand", GRAND_API_KEY="hidden", **NOT_DEFAULT)
    env = project.cloud.plane.app("speech-to-speech-tts").cls("TTS").image.env
    assert ours(env) == {
        "TTS_MODEL": "grand",
        "S2S_TTS_CONCURRENT_INPUTS": "3",
        "S2S_MAX_REPLY_TOKENS": "77",
        "S2S_LOG_LEVEL": "INFO",
        "HF_HUB_CACHE": "/weights",
        "HF_HUB_OFFLINE": "1",
    }
    assert "hidden" not in str(env)


def test_the_orchestrator_reads_the_time_outs_of_all_stages_and_nothing_else_of_theirs(
    project: Project,
) -> None:
    project.deploy(Stage.ORCHESTRATOR, S2S_ASR_TIMEOUT_S="9.5", **NOT_DEFAULT)
    for function in project.cloud.plane.app("speech-to-speech").functions.values():
        assert ours(function.image.env) == {
            "S2S_ASR_TIMEOUT_S": "9.5",
            "S2S_MAX_REPLY_TOKENS": "77",
            "S2S_LOG_LEVEL": "INFO",
        }


def ours(env: dict[str, str]) -> dict[str, str]:
    prefixes = ("S2S_", "ASR_", "LLM_", "TTS_", "HF_")
    return {name: value for name, value in env.items() if name.startswith(prefixes)}


@pytest.mark.parametrize("variable", ["S2S_OPENAI_BASE_URL", "S2S_HUB_URL"])
def test_credentials_in_a_url_are_refused_before_anything_is_deployed(
    project: Project, variable: str
) -> None:
    told = {variable: "https://me:passw0rd@example.org/v1", "LLM_MODEL": "phi3"}
    done = project.s2s("deploy", "llm", fails=True, **told)
    assert done.returncode == ExitCode.MISCONFIGURED
    assert f"{variable} contains credentials" in done.stderr
    assert "passw0rd" not in done.stderr


def test_every_one_of_them_is_a_setting(project: Project) -> None:
    project.deploy(
        Stage.TTS,
        TTS_MODEL="grand",
        S2S_TTS_GPU="L4:2",
        S2S_TTS_CPU="2.5",
        S2S_TTS_MEMORY_MB="2048",
        S2S_TTS_CONCURRENT_INPUTS="7",
        S2S_TTS_MIN_CONTAINERS="1",
        S2S_TTS_MAX_CONTAINERS="3",
        S2S_TTS_BUFFER_CONTAINERS="2",
        S2S_TTS_SCALEDOWN_WINDOW_S="60",
        S2S_CALL_TIMEOUT_S="99",
        S2S_STAGE_START_TIMEOUT_S="120",
        S2S_REGION="eu",
        S2S_ROUTING_REGION="eu-west",
    )
    tts = project.cloud.plane.app("speech-to-speech-tts").cls("TTS")
    assert (tts.gpu, tts.gpu_count, tts.cpu, tts.memory_mb) == ("L4", 2, 2.5, 2048)
    assert (tts.target_inputs, tts.max_inputs) == (7, 8)
    assert (tts.min_containers, tts.max_containers, tts.buffer_containers) == (1, 3, 2)
    assert (tts.scaledown_window_s, tts.timeout_s, tts.startup_timeout_s) == (60, 99, 120)
    assert (tts.regions, tts.routing_region) == (("eu",), "eu-west")


@pytest.mark.parametrize(
    ("stage", "model"), [(Stage.ASR, "nemo"), (Stage.LLM, "phi3"), (Stage.TTS, "chatterbox")]
)
def test_on_modal_itself_a_model_with_a_gpu_is_deployed_unless_another_is_named(
    project: Project, stage: Stage, model: str
) -> None:
    project.deploy(stage, S2S_MODAL_DEFAULTS="gpu", ASR_MODEL="")
    service = project.cloud.plane.app(APPS[stage]).cls(CLASSES[stage])
    assert service.image.env[f"{stage.upper()}_MODEL"] == model
    assert (service.gpu, service.memory_snapshot) == ("A10G", True)


def test_an_embedded_engine_asks_for_its_lock_file_and_nothing_else(project: Project) -> None:
    project.deploy(Stage.ASR)
    asr = project.cloud.plane.app("speech-to-speech-asr").cls("ASR")
    assert (asr.gpu, asr.secrets, asr.volumes, asr.memory_snapshot) == (None, (), {}, False)
    ((option, _),) = asr.image.pip_installs
    assert option == "-r"
    assert any("python:3.11" in command for command in asr.image.commands)
    assert asr.image.env["ASR_MODEL"] == "pocketsphinx"


def test_the_orchestrator_needs_no_gpu_and_takes_more_calls_than_turns_to_refuse_them(
    project: Project,
) -> None:
    project.deploy(Stage.ORCHESTRATOR, S2S_MAX_ACTIVE_TURNS="40", S2S_ORCHESTRATOR_MAX_CONTAINERS="4")
    for function in project.cloud.plane.app("speech-to-speech").functions.values():
        assert (function.gpu, function.secrets, function.volumes) == (None, (), {})
        assert (function.target_inputs, function.max_inputs, function.max_containers) == (40, 80, 4)
        assert {path.split("/")[2] for path in function.mounted} == {"orchestrator", "services", "shared"}
        assert has_ffmpeg(function.image)
        assert function.memory_snapshot


def test_the_orchestrator_starts_without_a_snapshot_if_a_setting_says_so(project: Project) -> None:
    project.deploy(Stage.ORCHESTRATOR, S2S_ORCHESTRATOR_SNAPSHOT="none")
    (orchestrator,) = project.cloud.plane.app("speech-to-speech").functions.values()
    assert not orchestrator.memory_snapshot


def test_the_monolith_has_what_its_engines_and_foreign_audio_need(project: Project) -> None:
    settings = {"TTS_MODEL": "flite", "S2S_WHISPER_MODEL": "base"}
    project.modal("deploy", "orchestrator.monolith_app", **settings)
    image = project.cloud.plane.app("speech-to-speech-monolith").cls("Monolith").image
    assert has_ffmpeg(image)
    assert image.env["S2S_WHISPER_MODEL"] == "base"
    assert any("libflite1" in command for command in image.commands)


def has_ffmpeg(image: ImageView) -> bool:
    """`process_audio` takes what a browser or a telephone records."""
    return any("apt-get install" in command and "ffmpeg" in command for command in image.commands)


def test_a_package_that_is_not_pinned_is_refused(project: Project) -> None:
    done = project.s2s("deploy", "tts", TTS_MODEL="loose", fails=True)
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "idna>=3" in done.stderr
    assert "name==version" in done.stderr


def test_an_unknown_model_is_refused_before_anything_is_deployed(project: Project) -> None:
    done = project.s2s("deploy", LLM_MODEL="gpt", fails=True)
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "LLM_MODEL=gpt" in done.stderr
    assert "Deploying" not in done.stderr


def test_a_missing_secret_is_refused_with_the_command_that_makes_it(project: Project) -> None:
    done = project.s2s("deploy", TTS_MODEL="keyless", fails=True)
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "modal secret create other-key OTHER_KEY=" in done.stderr
    assert "Deploying" not in done.stderr


def test_without_a_token_deploying_says_how_to_get_one(project: Project) -> None:
    for command in ("deploy", "smoke"):
        done = project.s2s(command, fails=True, MODAL_TOKEN_ID="", MODAL_TOKEN_SECRET="")
        assert done.returncode == ExitCode.MISCONFIGURED
        assert "modal token new" in done.stderr
        assert "Traceback" not in done.stderr


def test_every_engine_with_packages_has_a_lock_file_that_pins_them_and_the_same_pydantic() -> None:
    discover()
    base = BASE_LOCK.read_text().splitlines()
    pydantic = [line for line in base if line.startswith("pydantic")]
    for models in MODEL_REGISTRY.values():
        for model in models.values():
            if model.engine.__module__.startswith("services.") and model.spec.packages:
                lock = lock_file(model).read_text().splitlines()
                assert set(pydantic) <= set(lock)
                assert {_locked(package) for package in model.spec.packages} <= set(lock)


def test_what_telemetry_adds_to_an_image_changes_no_package_that_is_there() -> None:
    added = pins(TELEMETRY_LOCK)
    assert "opentelemetry-sdk" in added
    for lock in set(LOCKS.glob("*.txt")) - {LOCKS / "development.txt"}:
        there = pins(lock)
        assert {name: there[name] for name in added.keys() & there} == {
            name: added[name] for name in added.keys() & there
        }, lock.name


def test_the_headers_of_telemetry_need_a_secret(project: Project) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=hidden"}
    done = project.s2s("deploy", "orchestrator", fails=True, **told)
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "modal secret create otel-exporter-otlp-headers OTEL_EXPORTER_OTLP_HEADERS=" in done.stderr


def pins(lock: Path) -> dict[str, str]:
    """The versions that a lock file pins."""
    lines = (line.partition("==") for line in lock.read_text().splitlines() if "==" in line)
    return {name: version.split()[0] for name, _, version in lines}


def _locked(package: str) -> str:
    """A requirement as a lock file has it: without extras, its name normalised."""
    name, _, version = package.partition("==")
    return f"{canonicalize_name(name.split('[')[0])}=={version}"
