"""Seeing to it that a process and those it starts open no connection but to this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SITECUSTOMIZE = """
import os, sys

def refuse_strangers(event, arguments):
    if event == "socket.connect" or event == "socket.sendto":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else "a path"
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in {None, "", "a path", "localhost", "0.0.0.0", "::", "::1"} and not host.startswith("127."):
        with open(os.environ["FOREIGN_ADDRESSES"], "a") as file:
            print(event, host, *sys.argv[:3], file=file)
        raise PermissionError(f"{event}: {host} is not this machine")

sys.addaudithook(refuse_strangers)
"""


@contextmanager
def loopback_only(folder: Path) -> Iterator[Path]:
    """While inside, Python programs that are started refuse to connect elsewhere, or to look for an address.

    What they have tried is in the file that this yields, one line each.
    """
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    tried = folder / "foreign-addresses.txt"
    tried.touch()
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "FOREIGN_ADDRESSES")}
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), before["PYTHONPATH"]]))
    os.environ["FOREIGN_ADDRESSES"] = str(tried)
    try:
        yield tried
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def refuses_strangers(folder: Path) -> bool:
    """Whether a program that is started here refuses; for the test of this test."""
    connect = "import socket; socket.create_connection(('192.0.2.1', 9), 0.1)"
    with loopback_only(folder) as tried:
        done = subprocess.run([sys.executable, "-c", connect], capture_output=True, text=True, check=False)
        return "PermissionError" in done.stderr and "192.0.2.1" in tried.read_text()
