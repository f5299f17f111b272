"""The GPU, as engines find it."""

import ctypes
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.engines import Engine, has_gpu
from shared.errors import EngineLoadFailed


def check_gpu_is_used(found: bool, library: str) -> None:
    """`found` is whether the library sees a GPU. Raises EngineLoadFailed if it does not and the machine has
    one: the engine would run on the CPU, slowly, while its GPU is paid for."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    if has_gpu() and not found and not hidden:
        raise EngineLoadFailed(
            f"{library} does not find this machine's GPU; its driver may be too old. "
            "CUDA_VISIBLE_DEVICES= (empty) lets the engine run on the CPU."
        )


class CudaEngine(Engine):
    """An engine on PyTorch or CTranslate2, which is broken once CUDA is for this process."""

    _broken = False

    @contextmanager
    def watch_cuda(self) -> Iterator[None]:
        """What uses CUDA runs inside. Too little memory does not end CUDA; other errors of it do."""
        try:
            yield
        except RuntimeError as error:
            message = str(error)
            failed = "CUDA error" in message or "CUDA failed" in message
            self._broken |= failed and "out of memory" not in message
            raise

    def is_broken(self) -> bool:
        """Whether CUDA has failed in a way that ends its use for this process."""
        return self._broken


def load_cublas_12() -> None:
    """Load cuBLAS for CUDA 12 from its Python package, if that is installed: a library that looks for it
    by name on the system's path would not find it there."""
    for name in ("libcublasLt.so.12", "libcublas.so.12"):  # the second needs the first
        for folder in _cublas_folders():
            if (folder / name).exists():
                ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)


def _cublas_folders() -> list[Path]:
    try:
        spec = importlib.util.find_spec("nvidia.cublas")
    except ModuleNotFoundError:
        return []
    return [Path(folder) / "lib" for folder in (spec.submodule_search_locations or ())] if spec else []
