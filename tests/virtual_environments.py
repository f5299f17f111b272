"""Virtual environments made by uv, and kept until what they are made of changes."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from tests.pip_config import configured_sources, configured_variables

RUNNING_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

_COMPLETE = ".complete"


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
        """The same for the same contents, on every machine."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:24]


class VirtualEnvironments:
    """The environments in a folder, each under a name. Their packages are hard links to uv's cache where
    that is on the same disk. Safe to share between threads and processes."""

    def __init__(self, folder: Path, *, quiet: bool = True) -> None:
        """Where it is not quiet, uv shows on standard error what it does."""
        self._folder = folder
        self._quiet = quiet
        self._installing: set[subprocess.Popen[str]] = set()
        self._closed = False

    def interpreter(self, name: str, contents: Contents) -> Path:
        """Return the interpreter of the environment, made first if it is not there with these contents;
        once, however many ask. Raises EnvironmentFailed."""
        with self._locked(name):
            if not self.is_made(name, contents):
                self._make(self._folder / name, contents)
        return self._folder / name / "bin" / "python"

    def is_made(self, name: str, contents: Contents) -> bool:
        """Whether the environment is there, complete and with these contents."""
        complete = self._folder / name / _COMPLETE
        return complete.exists() and complete.read_text() == contents.key

    def close(self) -> None:
        """Give up what is being installed."""
        self._closed = True
        for process in list(self._installing):
            process.kill()

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
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
        (folder / _COMPLETE).write_text(contents.key)

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
            raise EnvironmentFailed((said or "see above").strip()[-2000:])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # a package's own file is a link into uv's cache
    path.write_bytes(content)


def _requirement_file(folder: Path, path: str) -> Path:
    return folder / "requirements" / path.lstrip("/")
