"""Seeing to it that the tests' own process opens no connection but to this machine. For the programs that
it starts there is `tests.engines.loopback_only`."""

import contextlib
import ipaddress
import sys
from collections.abc import Iterator
from typing import Any

_NAMES_OF_THIS_MACHINE = {"None", "", "localhost"}

_asked: list[str] = []
_inside: list[str] = []
"""One entry for each guard that stands."""


class Connected(BaseException):
    """Somebody asks for another machine. No Exception, so that nobody takes it for a network that is merely
    down."""


@contextlib.contextmanager
def only_loopback() -> Iterator[None]:
    """While inside, connecting to another machine from Python code, or asking for its address, raises
    Connected; so does the end, if that was hidden."""
    if not _inside:
        _asked.clear()
    _inside.append("")
    try:
        yield
        if _asked:
            raise Connected(", ".join(_asked))
    finally:
        _inside.pop()


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if not _inside or event not in {"socket.connect", "socket.sendto", "socket.getaddrinfo"}:
        return
    target = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
    host = target[0] if isinstance(target, tuple) else "" if event != "socket.getaddrinfo" else target
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name not in _NAMES_OF_THIS_MACHINE and not _is_loopback(name):
        _asked.append(name)
        raise Connected(name)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


sys.addaudithook(_guard)  # it cannot be taken away again, nor got around
