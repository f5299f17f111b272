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


def made_environment(folder: Path, contents: Contents, *, quiet: bool = True) -> Path:
    """Return the interpreter of the environment in `folder`, made first if it is not there with these
    contents; once, however many threads and processes ask.

    Its packages are hard links to uv's cache where that is on the same disk. Where it is not quiet, uv
    shows what it does on standard error. Raises EnvironmentFailed.
    """
    with _locked(folder):
        if not is_made(folder, contents):
            _make(folder, contents, quiet)
    return folder / "bin" / "python"


def is_made(folder: Path, contents: Contents) -> bool:
    """Whether the environment is there, complete and with these contents."""
    complete = folder / _COMPLETE
    return complete.exists() and complete.read_text() == contents.key


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(folder: Path, contents: Contents, quiet: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    running = contents.python_version == RUNNING_PYTHON
    _uv("venv", "--quiet", "--python", sys.executable if running else contents.python_version, str(folder))
    for path, content in contents.requirement_files:
        _write(_requirement_file(folder, path), content)
    files = {path for path, _ in contents.requirement_files}
    for install in contents.installs:
        arguments = [str(_requirement_file(folder, word)) if word in files else word for word in install]
        _install(folder, arguments, quiet)
    for path, content in contents.site_files:
        _write(folder / "lib" / f"python{contents.python_version}" / "site-packages" / path, content)
    (folder / _COMPLETE).write_text(contents.key)


def _install(folder: Path, arguments: Sequence[str], quiet: bool) -> None:
    python = str(folder / "bin" / "python")
    _uv("pip", "install", "--python", python, *configured_sources(), *arguments, quiet=quiet)


def _uv(*arguments: str, quiet: bool = True) -> None:
    done = subprocess.run(
        (uv.find_uv_bin(), *arguments),
        capture_output=quiet,
        text=True,
        check=False,
        env={**configured_variables(), **os.environ},
        cwd="/",
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise EnvironmentFailed((done.stderr or done.stdout or "see above").strip()[-2000:])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _requirement_file(folder: Path, path: str) -> Path:
    return folder / "requirements" / path.lstrip("/")
