"""No connection but to this machine."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

_Address = tuple[Any, ...] | str | bytes


class Connected(BaseException):
    """Somebody has asked for another machine. No Exception, so that nobody takes it for a network that is
    merely down."""


@contextlib.contextmanager
def only_loopback() -> Iterator[None]:
    """While inside, asking for the address of, or connecting to, another machine raises Connected in Python
    code, and has done so again at the end if somebody has hidden it."""
    asked: list[str] = []

    def check(host: object) -> None:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name not in {"None", "", "localhost"} and not _is_loopback(name):
            asked.append(name)
            raise Connected(name)

    def connecting(original: Any) -> Any:
        def connect(connection: socket.socket, address: _Address) -> Any:
            if connection.family in {socket.AF_INET, socket.AF_INET6}:
                check(address[0])
            return original(connection, address)

        return connect

    def resolving(host: Any, *arguments: Any, **options: Any) -> Any:
        check(host)
        return resolve(host, *arguments, **options)

    resolve = socket.getaddrinfo
    with (
        patch.object(socket, "getaddrinfo", resolving),
        patch.object(socket.socket, "connect", connecting(socket.socket.connect)),
        patch.object(socket.socket, "connect_ex", connecting(socket.socket.connect_ex)),
    ):
        yield
    assert not asked, f"connections were asked for: {asked}"


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
