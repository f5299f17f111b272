"""What all tests share: settings that nobody's environment has changed, and what they may skip for."""

import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from shared.settings import Settings

if TYPE_CHECKING:
    from local_cloud import ControlPlane
    from tests.support.control_plane_programs import Cloud


def _alsa_plugin(name: str) -> bool:
    folders = [
        folder for pattern in ("lib*/alsa-lib", "lib*/*/alsa-lib") for folder in Path("/usr").glob(pattern)
    ]
    return any((folder / f"libasound_module_pcm_{name}.so").exists() for folder in folders)


SYSTEM_NEEDS = {
    "chromium": (shutil.which("chromium") is not None, "chromium"),
    "flite": (find_library("flite") is not None, "libflite1"),
    "ffmpeg": (shutil.which("ffmpeg") is not None, "ffmpeg"),
    "node": (all(map(shutil.which, ("node", "npm"))), "nodejs npm"),
    "portaudio": (find_library("portaudio") is not None, "libportaudio2"),
    "pulseaudio": (
        all(map(shutil.which, ("pulseaudio", "pactl", "paplay", "parec"))) and _alsa_plugin("pulse"),
        "pulseaudio pulseaudio-utils libasound2-plugins",
    ),
}
THAT_DEPLOY = {"deployed", "local_cloud"}
OF_THE_TESTS = {"S2S_RECORDINGS", "S2S_FORBID_SKIPS"}

for name in [
    name
    for name in os.environ
    if name.startswith(("S2S_", "OTEL_")) or name in {"ASR_MODEL", "LLM_MODEL", "TTS_MODEL"}
]:
    if name not in OF_THE_TESTS:
        del os.environ[name]
Settings.model_config["env_file"] = None

# Threads that spin while they wait take the cores from the tests beside them: 1.3 s for one of Whisper's
# transcripts on a busy machine of two cores, and 0.3 s so; 50 ms of CPU for each process that imports numpy.
# The libraries read it when they are loaded.
NO_SPINNING = {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}
for name, value in NO_SPINNING.items():
    os.environ.setdefault(name, value)

# How long an example takes is the machine's business, and what fails must fail again.
hypothesis_settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
hypothesis_settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "devices: in real time, on a sound server or in a browser: make test-devices"
    )
    config.addinivalue_line(
        "markers", "slow: several seconds for a file, as of real engines: no part of test-fast"
    )
    config.addinivalue_line("markers", "needs(*names): system libraries or programs that the test uses")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a fourth of the time of the tests that deploy is waiting."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What deploys goes first, then the files of this folder, which start commands: they take longest, and no
    worker should be left with one at the end."""

    def order(item: pytest.Item) -> tuple[bool, bool]:
        first, *rest = item.path.relative_to(Path(__file__).parent).parts
        return first not in THAT_DEPLOY, bool(rest)

    items.sort(key=order)


def pytest_collection_finish() -> None:
    """What has been imported stays: the garbage collector need not look through it again and again."""
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            present, package = SYSTEM_NEEDS[name]
            if not present:
                pytest.skip(f"needs {name}: apt install {package}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where S2S_FORBID_SKIPS is set, a test that is skipped has failed."""
    report = yield
    if report.skipped and os.environ.get("S2S_FORBID_SKIPS"):
        report.outcome = "failed"
        report.longrepr = (
            f"skips are forbidden here, and this test says: {call.excinfo and call.excinfo.value}"
        )
    return report


@pytest.fixture(scope="session", autouse=True)
def _children_can_be_interrupted() -> None:
    """A run that ignores Ctrl-C (a background job) or the end of its terminal (nohup) still starts children
    that do not: what is ignored is ignored after exec as well, and a handler is not."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture
def without_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Reading the machine's takes each HTTP client of this process 50 ms; none is needed on this machine."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


@pytest.fixture
def recordings() -> Path:
    """The folder of real recordings; a project's user has none."""
    folder = os.environ.get("S2S_RECORDINGS")
    if not folder:
        pytest.skip("needs recordings of real speech: set S2S_RECORDINGS to their folder")
    return Path(folder)


@pytest.fixture(scope="module")
def control_plane() -> Iterator["ControlPlane"]:
    """A local control plane for Modal for the tests of a module; its environments are kept between runs."""
    pytest.importorskip("modal", reason="needs modal: pip install -e '.[cloud]'")
    from local_cloud import DEFAULT_CACHE, ControlPlane, Machine

    cache = Path(os.environ.get("MODAL_CONTROL_PLANE_CACHE", DEFAULT_CACHE))
    with ControlPlane(cache=cache, machine=Machine(environ=NO_SPINNING)) as plane:
        yield plane


@pytest.fixture(scope="module")
def cloud(control_plane: "ControlPlane") -> Iterator["Cloud"]:
    """The control plane with this process's modal client, and the `modal` command, pointed at it."""
    import modal

    from tests.support.control_plane_programs import Cloud

    with pytest.MonkeyPatch.context() as patch:
        for name, value in control_plane.environ.items():
            patch.setenv(name, value)
        modal.Client._set_env_client(None)
        yield Cloud(control_plane)
        modal.Client.from_env().close()
        modal.Client._set_env_client(None)
