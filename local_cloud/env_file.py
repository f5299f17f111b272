"""The file that tells others on this machine where the local cloud is."""

import asyncio
import fcntl
import ipaddress
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from local_cloud.identity import identity_at

DEFAULT_ENV_FILE = Path(".local-cloud/env")


class NoLocalCloud(Exception):
    """There is none to be used; the message says what to do."""

    def __init__(self) -> None:
        super().__init__("No local cloud is running: start it with `make local-cloud` in another terminal.")


class AlreadyRunning(Exception):
    """Another local cloud has this file; the message says which."""


class EnvFile:
    """`export NAME=value` lines, and a lock that whoever has written them holds until it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: TextIO | None = None

    def claim(self, owner: str) -> None:
        """Take the file for this process; raises AlreadyRunning, with the owner's words, if it is taken."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(f"{self.path.name}.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise AlreadyRunning(lock.read().strip()) from None
        lock.truncate(0)
        lock.write(owner)
        lock.flush()
        self._lock = lock

    def write(self, environ: Mapping[str, str]) -> str:
        """Write the variables; return what was written."""
        text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environ.items())
        self.path.write_text(text)
        return text

    def remove(self) -> None:
        """Take the file away and give it up; the lock's own file stays, or two could hold one."""
        self.path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    def read(self) -> dict[str, str]:
        """Return its variables; raises NoLocalCloud if there is no such file."""
        try:
            words = shlex.split(self.path.read_text(), comments=True)
        except FileNotFoundError:
            raise NoLocalCloud from None
        pairs = (word.split("=", 1) for word in words if "=" in word)
        return {name: value for name, value in pairs if name.startswith(("MODAL_", "S2S_"))}


def local_cloud(env_file: EnvFile) -> dict[str, str]:
    """Return the variables of the local cloud that runs now; raises NoLocalCloud unless it answers."""
    environ = env_file.read()
    url = urlsplit(environ.get("MODAL_SERVER_URL", ""))
    identity = environ.get("MODAL_TOKEN_ID")
    if not identity or not url.port or not _is_loopback(url.hostname or ""):
        raise NoLocalCloud
    if asyncio.run(identity_at(url.hostname or "", url.port)) != identity:
        raise NoLocalCloud
    return environ


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
