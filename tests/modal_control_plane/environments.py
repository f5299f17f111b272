"""Virtual environments made from images' pip layers, kept by their content."""

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

from tests.modal_control_plane.image_layers import Recipe

_COMPLETE = ".complete"


class EnvironmentFailed(Exception):
    """An image's packages could not be installed; the message is the end of what pip said."""


class Environments:
    """One environment for each set of pip layers, shared by everyone who uses the cache folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def interpreter(self, recipe: Recipe) -> Path:
        """Return the interpreter of the image's environment, made first if it is not there yet."""
        return await asyncio.to_thread(self._ensure, recipe)

    def _ensure(self, recipe: Recipe) -> Path:
        if recipe.unsupported:
            raise EnvironmentFailed(f"the local control plane cannot run `{recipe.unsupported[0]}`")
        folder = self._folder / (f"image-{_key(recipe)}" if recipe.pip_installs else f"base-{_base_key()}")
        with self._locked(folder):
            if not (folder / _COMPLETE).exists():
                self._make(folder, recipe)
        return folder / "bin" / "python"

    def _make(self, folder: Path, recipe: Recipe) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if recipe.pip_installs:
            _copy_of(self._ensure(Recipe((), (), (), ())).parents[1], folder)
        else:
            _run(sys.executable, "-I", "-m", "venv", str(folder))
            _pip(folder, [f"modal=={version('modal')}"])
        for path, content in recipe.requirement_files:
            _file_in(folder, path).parent.mkdir(parents=True, exist_ok=True)
            _file_in(folder, path).write_bytes(content)
        files = {path for path, _ in recipe.requirement_files}
        for install in recipe.pip_installs:
            _pip(folder, [str(_file_in(folder, word)) if word in files else word for word in install])
        (folder / _COMPLETE).touch()

    @contextlib.contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """Hold the environment's lock against other threads and processes; one is made once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _copy_of(base: Path, folder: Path) -> None:
    """Make an environment with the base's packages: sparing a minute of installing them again."""
    _run(sys.executable, "-I", "-m", "venv", "--without-pip", str(folder))
    (source,) = base.glob("lib/python*/site-packages")
    shutil.copytree(source, folder / source.relative_to(base), dirs_exist_ok=True)


def _pip(folder: Path, arguments: Sequence[str]) -> None:
    options = ["install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _run(str(folder / "bin" / "python"), "-I", "-m", "pip", *options, *arguments)


def _run(*command: str) -> None:
    outer = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=outer, cwd="/", stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise EnvironmentFailed((done.stderr or done.stdout).strip()[-2000:])


def _file_in(folder: Path, path: str) -> Path:
    return folder / "requirements" / path.lstrip("/")


def _base_key() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}-modal-{version('modal')}"


def _key(recipe: Recipe) -> str:
    told = repr((_base_key(), recipe.pip_installs, recipe.requirement_files))
    return hashlib.sha256(told.encode()).hexdigest()[:24]
