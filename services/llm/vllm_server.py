"""A vLLM server as a child process, on a loopback address."""

import http.client
import json
import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from services.process.watched_process import WatchedProcess
from services.weights.snapshot import weights_volume_folder
from shared.errors import EngineLoadFailed, Stage, StageFailed

LOOPBACK = "127.0.0.1"

_POLL_S = 0.1
_HEALTH_TIMEOUT_S = 5.0
_SLEEP_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 10.0

_ENVIRON = {
    "VLLM_SERVER_DEV_MODE": "1",  # /sleep and /wake_up
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": LOOPBACK,  # else it looks for another address of this machine, and listens there
    "HF_HUB_OFFLINE": "1",
    # FlashInfer's sampler is compiled by nvcc when it is first used, which a slim image does not have.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
}

_log = logging.getLogger(__name__)


class VllmServer:
    """`vllm serve` for one model: started, watched, put to sleep and woken, ended."""

    def __init__(self, weights: Path, model: str, flags: Sequence[str], *, keep_alive_s: float) -> None:
        """`model` is the name under which the weights are served; idle connections last longer than
        `keep_alive_s`, so that it is never the server who closes one."""
        self._reserved = _reserved_address()
        self._port: int = self._reserved.getsockname()[1]
        self._command = vllm_command(weights, model, self._port, flags)
        self._environ = os.environ | vllm_environ(keep_alive_s)
        self._process: WatchedProcess | None = None
        self._closed = False

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def has_ended(self) -> bool:
        """Whether it was started and runs no more."""
        return self._process is not None and self._process.has_ended

    def start(self, timeout_s: float) -> None:
        """Start it and wait until it can answer; blocking.

        Raises EngineLoadFailed, with its last log lines, if it ends before or takes longer than that.
        """
        give_up_s = time.monotonic() + timeout_s
        _log.info("Starting %s", shlex.join(self._command))
        self._process = WatchedProcess(self._command, self._environ, _log.info)
        if self._closed:
            self.close()
        while not self.is_healthy():
            if self._process.wait(_POLL_S):
                raise EngineLoadFailed(f"vLLM could not start: it {self._process.how_it_ended}", Stage.LLM)
            if time.monotonic() > give_up_s:
                self.close()
                told = f"vLLM was not ready after {timeout_s:.0f} s; it {self._process.how_it_ended}"
                raise EngineLoadFailed(told, Stage.LLM)

    def is_healthy(self) -> bool:
        """Whether it runs, and its engine with it."""
        try:
            return self.request("GET", "/health", timeout_s=_HEALTH_TIMEOUT_S) == 200
        except OSError:
            return False

    def check_runs(self) -> None:
        """Raises StageFailed, with its last log lines, if it has ended or can work no more; it is ended
        then for good."""
        if self._process is None or self.is_healthy():
            return
        self._process.end(_END_TIMEOUT_S)
        raise StageFailed(f"vLLM is lost: it {self._process.how_it_ended}", Stage.LLM)

    def sleep(self) -> None:
        """Move the weights from the GPU to memory and forget what was computed, for a snapshot."""
        self._must("/sleep?level=1")

    def wake_up(self) -> None:
        """Move the weights back to the GPU."""
        self._must("/wake_up")

    def close(self) -> None:
        """End it with all its processes; from any thread, also while it starts."""
        self._closed = True
        if self._process is not None:
            self._process.end(_END_TIMEOUT_S)
        self._reserved.close()

    def request(self, method: str, path: str, body: object = None, *, timeout_s: float) -> int:
        """The status of its answer to JSON. Raises OSError if there is none in time."""
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=timeout_s)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            return response.status
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            connection.close()

    def _must(self, path: str) -> None:
        status = self.request("POST", path, timeout_s=_SLEEP_TIMEOUT_S)
        if status != 200:
            raise StageFailed(f"vLLM answers {status} to {path}.", Stage.LLM)


def vllm_command(weights: Path, model: str, port: int, flags: Sequence[str]) -> list[str]:
    """The command that serves the weights on that port of the loopback address."""
    command = [sys.executable, "-P", "-m", "vllm.entrypoints.cli.main", "serve", str(weights)]
    address = ["--host", LOOPBACK, "--port", str(port)]
    return [*command, "--served-model-name", model, *address, "--disable-uvicorn-access-log", *flags]


def vllm_environ(keep_alive_s: float) -> dict[str, str]:
    """What vLLM's environment has besides this process's own."""
    environ = _ENVIRON | {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(round(2 * keep_alive_s))}
    if volume := weights_volume_folder():
        # What is compiled is kept for containers that start without a snapshot, as in Modal's own examples of
        # snapshots. Modal commits a Volume every few seconds by itself. Containers that compile at once write
        # the same: folders are named by a hash of all that goes into them. Artifacts are written as a whole,
        # their index (vllm_compile_cache.py) is not; `modal volume rm -r` of this folder heals whatever comes
        # of that.
        environ["VLLM_CACHE_ROOT"] = str(volume / "vllm")
    return environ


def _reserved_address() -> socket.socket:
    """A socket that is bound to a free port and never listens. vLLM, which sets SO_REUSEADDR as well, can
    still be bound there; the kernel gives the port to nobody else."""
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((LOOPBACK, 0))
    return reserved
