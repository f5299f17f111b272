"""`s2s serve`, in a process of its own."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.support.s2s_command import S2S
from tests.support.waiting import until

READY_WITHIN_S = 120.0
ENDS_WITHIN_S = 30.0


@contextmanager
def served(folder: Path, **variables: str) -> Iterator[str]:
    """The address of a gateway that takes clients, in an environment with these variables; what it shows
    is in the file `shown` of the folder. It is interrupted at the end, and must end well."""
    address = f"http://127.0.0.1:{(port := _free_port())}"
    with (folder / "shown").open("w") as shown:
        process = subprocess.Popen(
            [*S2S, "serve", "--port", str(port)],
            cwd=folder,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=shown,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: process.poll() is not None or _is_ready(address), READY_WITHIN_S)
            assert process.poll() is None, (folder / "shown").read_text()
            yield address
            process.send_signal(signal.SIGINT)
            assert process.wait(ENDS_WITHIN_S) == 0, (folder / "shown").read_text()
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/readyz").is_success
    except httpx2.TransportError:
        return False
