"""Virtual environments made from images' pip layers by uv, kept by their content."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import uv

from tests.modal_control_plane.image_layers import Recipe
from tests.modal_control_plane.pip_config import configured_sources, configured_variables

_COMPLETE = ".complete"


class EnvironmentFailed(Exception):
    """An image's packages could not be installed; the message is the end of what uv said."""


class Environments:
    """One environment for each set of pip layers, shared by everyone who uses the cache folder.

    It has what the image's layers install and what modal's own client needs, nothing else: the
    packages are hard links to uv's cache where that is on the same disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def interpreter(self, recipe: Recipe) -> Path:
        """Return the interpreter of the image's environment, made first if it is not there yet."""
        return await asyncio.to_thread(self._ensure, recipe)

    def _ensure(self, recipe: Recipe) -> Path:
        if recipe.unsupported:
            raise EnvironmentFailed(f"the local control plane cannot run `{recipe.unsupported[0]}`")
        folder = self._folder / f"image-{_key(recipe)}"
        with self._locked(folder):
            if not (folder / _COMPLETE).exists():
                _make(folder, recipe)
        return folder / "bin" / "python"

    @contextlib.contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """Hold the environment's lock against other threads and processes; one is made once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _make(folder: Path, recipe: Recipe) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _uv("venv", "--python", sys.executable, str(folder))
    for path, content in recipe.requirement_files:
        _file_in(folder, path).parent.mkdir(parents=True, exist_ok=True)
        _file_in(folder, path).write_bytes(content)
    files = {path for path, _ in recipe.requirement_files}
    _install(folder, [f"modal=={version('modal')}"])
    for layer in recipe.pip_installs:
        _install(folder, [str(_file_in(folder, word)) if word in files else word for word in layer])
    (folder / _COMPLETE).touch()


def _install(folder: Path, arguments: Sequence[str]) -> None:
    _uv("pip", "install", "--python", str(folder / "bin" / "python"), *configured_sources(), *arguments)


def _uv(*arguments: str) -> None:
    done = subprocess.run(
        (uv.find_uv_bin(), "--quiet", *arguments),
        capture_output=True,
        text=True,
        check=False,
        env={**configured_variables(), **os.environ},
        cwd="/",
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise EnvironmentFailed((done.stderr or done.stdout).strip()[-2000:])


def _file_in(folder: Path, path: str) -> Path:
    return folder / "requirements" / path.lstrip("/")


def _key(recipe: Recipe) -> str:
    """Return the same key for the same content, on every machine."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    told = repr(("uv", python, version("modal"), recipe.pip_installs, recipe.requirement_files))
    return hashlib.sha256(told.encode()).hexdigest()[:24]
