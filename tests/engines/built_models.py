"""Tiny models that tests build, kept between runs.

`python -m tests.engines.built_models NAME MODULE FUNCTION` builds one and prints its folder: for tests that
run in another environment than the model needs.
"""

import fcntl
import hashlib
import importlib
import inspect
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_KEPT_UNUSED_S = 21 * 24 * 3600.0


def built_model(name: str, build: Callable[[Path], None]) -> Path:
    """Return the folder that `build` has filled, filled first if it is not there; once, however many ask.

    It is kept as long as the module that `build` comes from stays as it is, and somebody uses it.
    """
    module = inspect.getmodule(build)
    assert module is not None
    key = hashlib.sha256(inspect.getsource(module).encode()).hexdigest()[:12]
    models = Path(os.environ.get("ENGINE_MODELS", tempfile.gettempdir()))
    models.mkdir(parents=True, exist_ok=True)
    folder = models / f"{name}-{key}"
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _build(folder, build)
            _remove_unused(models, name)
    os.utime(folder)
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    build(partial)
    partial.rename(folder)  # there as a whole or not at all


def _remove_unused(models: Path, name: str) -> None:
    for folder in (path for path in models.glob(f"{name}-*") if path.is_dir()):
        if time.time() - folder.stat().st_mtime > _KEPT_UNUSED_S:
            shutil.rmtree(folder)


if __name__ == "__main__":
    name, module, function = sys.argv[1:]
    built = built_model(name, getattr(importlib.import_module(module), function))
    print(built)  # noqa: T201
