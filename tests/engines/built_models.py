"""Tiny models that tests build, kept between runs."""

import hashlib
import inspect
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def built_model(name: str, build: Callable[[Path], None]) -> Path:
    """Return the folder that `build` has filled, filled first if it is not there.

    It is kept as long as the module that `build` comes from stays as it is.
    """
    module = inspect.getmodule(build)
    assert module is not None
    key = hashlib.sha256(inspect.getsource(module).encode()).hexdigest()[:12]
    folder = Path(os.environ.get("ENGINE_MODELS", tempfile.gettempdir())) / f"{name}-{key}"
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        build(partial)
        partial.rename(folder)  # there as a whole or not at all
    return folder
