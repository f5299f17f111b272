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
        self._installing: set[subprocess.Popen[str]] = set()
        self._closed = False

    async def interpreter(self, recipe: Recipe) -> Path:
        """Return the interpreter of the image's environment, made first if it is not there yet."""
        return await asyncio.to_thread(self._ensure, recipe)

    def close(self) -> None:
        """Give up what is being installed."""
        self._closed = True
        for process in list(self._installing):
            process.kill()

    def _ensure(self, recipe: Recipe) -> Path:
        if recipe.unsupported:
            raise EnvironmentFailed(f"the local control plane cannot run `{recipe.unsupported[0]}`")
        folder = self._folder / f"image-{_key(recipe)}"
        with self._locked(folder):
            if not (folder / _COMPLETE).exists():
                self._make(folder, recipe)
        return folder / "bin" / "python"

    def _make(self, folder: Path, recipe: Recipe) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._uv("venv", "--python", sys.executable, str(folder))
        for path, content in recipe.requirement_files:
            _file_in(folder, path).parent.mkdir(parents=True, exist_ok=True)
            _file_in(folder, path).write_bytes(content)
        files = {path for path, _ in recipe.requirement_files}
        self._install(folder, [f"modal=={version('modal')}"])
        for layer in recipe.pip_installs:
            self._install(folder, [str(_file_in(folder, word)) if word in files else word for word in layer])
        (folder / _COMPLETE).touch()

    def _install(self, folder: Path, arguments: Sequence[str]) -> None:
        interpreter = str(folder / "bin" / "python")
        self._uv("pip", "install", "--python", interpreter, *configured_sources(), *arguments)

    def _uv(self, *arguments: str) -> None:
        with subprocess.Popen(
            (uv.find_uv_bin(), "--quiet", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**configured_variables(), **os.environ},
            cwd="/",
        ) as process:
            self._installing.add(process)
            if self._closed:
                process.kill()
            said, _ = process.communicate()
            self._installing.discard(process)
        if process.returncode:
            raise EnvironmentFailed(said.strip()[-2000:])

    @contextlib.contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """Hold the environment's lock against other threads and processes; one is made once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _file_in(folder: Path, path: str) -> Path:
    return folder / "requirements" / path.lstrip("/")


def _key(recipe: Recipe) -> str:
    """Return the same key for the same content, on every machine."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    told = repr(("uv", python, version("modal"), recipe.pip_installs, recipe.requirement_files))
    return hashlib.sha256(told.encode()).hexdigest()[:24]
