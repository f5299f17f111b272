"""Virtual environments made by uv, and kept for as long as somebody uses them."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from local_cloud.pip_config import configured_sources, configured_variables

RUNNING_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

KEPT_UNUSED_S = 21 * 24 * 3600.0
"""How long an environment is kept that nobody uses."""

_COMPLETE = ".complete"
"""The file that is written last; its time is that of the last use."""


class EnvironmentFailed(Exception):
    """Packages could not be installed; the message is the end of what uv said."""


@dataclass(frozen=True)
class Contents:
    """What an environment is made of.

    `installs` are arguments of `uv pip install`, one call after another; `requirement_files` those that
    they name; `site_files` are laid into its site-packages afterwards.
    """

    installs: tuple[tuple[str, ...], ...]
    requirement_files: tuple[tuple[str, bytes], ...] = ()
    site_files: tuple[tuple[str, bytes], ...] = ()
    python_version: str = RUNNING_PYTHON

    @property
    def key(self) -> str:
        """The same for the same contents from the same sources."""
        return hashlib.sha256(repr((self, configured_sources())).encode()).hexdigest()[:24]


class VirtualEnvironments:
    """The environments in a folder, each under a name and the key of its contents, so that who wants others
    under the same name disturbs nobody. Their packages are hard links to uv's cache where that is on the
    same disk. Safe to share between threads and processes."""

    def __init__(self, folder: Path, *, quiet: bool = True) -> None:
        """Where it is not quiet, uv shows on standard error what it does."""
        self._folder = folder
        self._quiet = quiet
        self._installing: set[subprocess.Popen[str]] = set()
        self._closed = False

    def interpreter(self, name: str, contents: Contents) -> Path:
        """Return the interpreter of the environment, made first if it is not there with these contents;
        once, however many ask. Raises EnvironmentFailed."""
        folder = self.folder(name, contents)
        with self._locked(folder):
            if not self.is_made(name, contents):
                self._make(folder, contents)
                self._remove_unused()
            (folder / _COMPLETE).touch()
        return folder / "bin" / "python"

    def folder(self, name: str, contents: Contents) -> Path:
        """Where the environment is, or will be. What its user puts there is removed with it."""
        return self._folder / f"{name}-{contents.key}"

    def is_made(self, name: str, contents: Contents) -> bool:
        """Whether the environment is there, and complete."""
        return (self.folder(name, contents) / _COMPLETE).exists()

    def close(self) -> None:
        """Give up what is being installed."""
        self._closed = True
        for process in list(self._installing):
            process.kill()

    def _remove_unused(self) -> None:
        """Remove those that nobody has used for long."""
        for folder in (path for path in self._folder.iterdir() if path.is_dir()):
            if time.time() - _last_used(folder) > KEPT_UNUSED_S:
                with contextlib.suppress(BlockingIOError), self._locked(folder, wait=False):
                    shutil.rmtree(folder)

    @contextlib.contextmanager
    def _locked(self, folder: Path, *, wait: bool = True) -> Iterator[None]:
        """Raises BlockingIOError where it does not wait, and somebody else has it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield

    def _make(self, folder: Path, contents: Contents) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        python = sys.executable if contents.python_version == RUNNING_PYTHON else contents.python_version
        self._uv("venv", "--quiet", "--python", python, str(folder))
        for path, content in contents.requirement_files:
            _write(_requirement_file(folder, path), content)
        files = {path for path, _ in contents.requirement_files}
        for install in contents.installs:
            words = [str(_requirement_file(folder, word)) if word in files else word for word in install]
            self._install(folder, words)
        for path, content in contents.site_files:
            _write(folder / "lib" / f"python{contents.python_version}" / "site-packages" / path, content)
        (folder / _COMPLETE).touch()

    def _install(self, folder: Path, arguments: Sequence[str]) -> None:
        python = str(folder / "bin" / "python")
        self._uv("pip", "install", "--python", python, *configured_sources(), *arguments)

    def _uv(self, *arguments: str) -> None:
        with subprocess.Popen(
            (uv.find_uv_bin(), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._quiet else None,
            stderr=subprocess.STDOUT if self._quiet else None,
            text=True,
            env={**configured_variables(), **os.environ},
            cwd="/",
        ) as process:
            self._installing.add(process)
            if self._closed:
                process.kill()
            try:
                said, _ = process.communicate()
            finally:
                self._installing.discard(process)
        if process.returncode:
            said = (said or "see above").strip()[-2000:]
            raise EnvironmentFailed(f"uv ended with {process.returncode}: {said}")


def _last_used(folder: Path) -> float:
    """In seconds since the epoch; of one that was never completed, when its making began."""
    complete = folder / _COMPLETE
    return (complete if complete.exists() else folder).stat().st_mtime


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # a package's own file is a link into uv's cache
    path.write_bytes(content)


def _requirement_file(folder: Path, path: str) -> Path:
    return folder / "requirements" / path.lstrip("/")
