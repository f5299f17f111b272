"""The GPU, as engines find it."""

import ctypes
import importlib.util
import os
from pathlib import Path

from shared.engines import has_gpu
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


def is_cuda_broken(error: Exception) -> bool:
    """Whether an error of PyTorch or CTranslate2 ends CUDA for this process; too little memory does not."""
    message = str(error)
    return ("CUDA error" in message or "CUDA failed" in message) and "out of memory" not in message


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
