"""The GPU and its libraries, on a machine that need not have any."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from services.cuda import CudaEngine, check_gpu_is_used, load_cublas_12
from shared.audio.pcm import Pcm
from shared.engines import ASRModel
from shared.errors import EngineLoadFailed


@pytest.fixture
def with_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr("shared.engines.DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_that_the_library_does_not_find_is_an_error_that_says_what_to_do() -> None:
    check_gpu_is_used(True, "PyTorch")
    with pytest.raises(EngineLoadFailed, match=r"PyTorch does not find .*CUDA_VISIBLE_DEVICES="):
        check_gpu_is_used(False, "PyTorch")


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_that_is_hidden_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_gpu_is_used(False, "PyTorch")


def test_without_a_gpu_the_cpu_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.engines.DEVICES", tmp_path)
    check_gpu_is_used(False, "PyTorch")


class Failing(CudaEngine, ASRModel):
    model_name = "failing"

    def __init__(self, message: str) -> None:
        self._message = message

    def load(self) -> None: ...

    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        with self.watch_cuda():
            raise RuntimeError(self._message)


@pytest.mark.parametrize(
    ("message", "broken"),
    [
        ("CUDA error: device-side assert triggered", True),
        ("CUDA failed with error an illegal memory access was encountered", True),
        ("CUDA out of memory. Tried to allocate 2.00 GiB.", False),
        ("CUDA failed with error out of memory", False),
        ("a word that is too long", False),
    ],
)
def test_an_error_that_ends_cuda_for_the_process_is_told_from_others(message: str, broken: bool) -> None:
    engine = Failing(message)
    with pytest.raises(RuntimeError, match=message):
        engine.transcribe(Pcm(np.zeros(1, np.float32), 16_000))
    assert engine.is_broken() is broken


def test_without_its_package_cublas_is_left_to_the_system() -> None:
    load_cublas_12()


def test_cublas_is_loaded_from_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    for name in ("libcublasLt.so.12", "libcublas.so.12"):
        shutil.copy(_some_library(), folder / name)
    monkeypatch.syspath_prepend(tmp_path)
    for module in [name for name in sys.modules if name.split(".")[0] == "nvidia"]:
        monkeypatch.delitem(sys.modules, module)
    load_cublas_12()
    mapped = Path("/proc/self/maps").read_text()
    assert str(folder / "libcublasLt.so.12") in mapped
    assert str(folder / "libcublas.so.12") in mapped


def _some_library() -> Path:
    """A small shared library of this machine."""
    import _ctypes

    return Path(_ctypes.__file__)
