"""A vLLM server as a child process, behind a Unix socket that no other user can reach."""

import http.client
import json
import logging
import os
import shlex
import shutil
import socket
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from services.process.watched_process import WatchedProcess
from services.weights import weights_volume_folder
from shared.errors import EngineLoadFailed, Stage, StageFailed

URL = "http://vllm"
"""The server's address in requests over its socket; the host name is never looked up."""

_POLL_S = 0.1
_HEALTH_TIMEOUT_S = 5.0
_SLEEP_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 10.0

_ENVIRON = {
    "VLLM_SERVER_DEV_MODE": "1",  # /sleep and /wake_up
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",  # else it looks for another address of this machine, and listens there
    "HF_HUB_OFFLINE": "1",
    # FlashInfer's sampler is compiled by nvcc when it is first used, which a slim image does not have.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
}

_log = logging.getLogger(__name__)


class VllmServer:
    """`vllm serve` for one model: started, watched, put to sleep and woken, ended."""

    def __init__(self, weights: Path, model: str, flags: Sequence[str], *, keep_alive_s: float) -> None:
        """`model` is the name under which the weights are served; the server keeps idle connections longer
        than `keep_alive_s`, so that only the client closes them."""
        self._folder = Path(tempfile.mkdtemp(prefix="vllm-"))  # no other user can enter it
        self.socket = self._folder / "socket"
        volume = weights_volume_folder()
        self._compiled = CompileCache(volume, model) if volume else None
        self._command = [sys.executable, "-P", "-m", "vllm.entrypoints.cli.main", "serve", str(weights)]
        self._command += ["--served-model-name", model, "--uds", str(self.socket)]
        self._command += ["--disable-uvicorn-access-log", *flags]
        self._environ = os.environ | _ENVIRON
        self._environ |= {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(round(2 * keep_alive_s))}
        if self._compiled:
            self._environ |= {"VLLM_CACHE_ROOT": str(self._compiled.folder)}
        self._process: WatchedProcess | None = None
        self._closed = False

    @property
    def has_ended(self) -> bool:
        """Whether it was started and runs no more."""
        return self._process is not None and self._process.has_ended

    def start(self, timeout_s: float) -> None:
        """Start it and wait until it can answer; blocking.

        Raises EngineLoadFailed if it ends before, takes longer than that, or has been closed.
        """
        deadline_s = time.monotonic() + timeout_s
        if self._compiled:
            self._compiled.restore()
        if self._closed:
            raise EngineLoadFailed("vLLM was closed before it started.", Stage.LLM)
        _log.info("Starting %s", shlex.join(self._command))
        self._process = WatchedProcess(self._command, self._environ, _log.info)
        if self._closed:
            self.close()
        while not self.is_healthy():
            if self._process.wait(_POLL_S):
                raise EngineLoadFailed(f"vLLM could not start: {self._ending()}", Stage.LLM)
            if time.monotonic() > deadline_s:
                self.end()
                raise EngineLoadFailed(
                    f"vLLM was not ready after {timeout_s:.0f} s; {self._ending()}", Stage.LLM
                )
        if self._compiled:
            self._compiled.publish()

    def is_healthy(self) -> bool:
        """Whether it runs, and its engine with it."""
        try:
            return self.request("GET", "/health", timeout_s=_HEALTH_TIMEOUT_S) == 200
        except OSError:
            return False

    def check_runs(self) -> None:
        """Raises StageFailed if it has ended or can work no more, in which case it is ended for good."""
        if self._process is None or self.is_healthy():
            return
        self.end()
        raise StageFailed(f"vLLM is lost: {self._ending()}", Stage.LLM)

    def sleep(self) -> None:
        """Move the weights from the GPU to memory and drop the key-value cache, for a snapshot."""
        self._must("/sleep?level=1")

    def wake_up(self) -> None:
        """Move the weights back to the GPU."""
        self._must("/wake_up")

    def end(self, grace_s: float = _END_TIMEOUT_S) -> None:
        """End it with all its processes, by force after `grace_s`."""
        if self._process is not None:
            self._process.end(grace_s)

    def close(self) -> None:
        """End it and remove its socket; from any thread, also while it starts or before."""
        self._closed = True
        self.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def request(self, method: str, path: str, body: object = None, *, timeout_s: float) -> int:
        """The status of its answer to JSON. Raises OSError if there is none in time."""
        connection = _UnixConnection("vllm", timeout=timeout_s)
        try:
            connection.connect_to(self.socket)
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            return response.status
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            connection.close()

    def _ending(self) -> str:
        """How it ended. Its last lines are logged: they are for the operator, and a message may reach an
        end user."""
        assert self._process is not None
        _log.error("vLLM %s. Its last lines:\n%s", self._process.how_it_ended, self._process.last_lines)
        return f"it {self._process.how_it_ended}, and the log has its last lines."

    def _must(self, path: str) -> None:
        status = self.request("POST", path, timeout_s=_SLEEP_TIMEOUT_S)
        if status != 200:
            raise StageFailed(f"vLLM answers {status} to {path}.", Stage.LLM)


class _UnixConnection(http.client.HTTPConnection):
    def connect_to(self, path: Path) -> None:
        """Connect over a Unix socket. (httpx leaks it where nobody listens.)"""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(path))


class CompileCache:
    """What vLLM compiles, kept in the Volume for containers that start without a snapshot.

    vLLM writes to a local folder (the same in every container, as its index holds absolute paths). What a
    successful start has added is published as one file, by a rename: a container that is preempted while it
    writes leaves nothing behind that a later start would read.
    """

    def __init__(self, volume: Path, model: str) -> None:
        self.folder = Path(tempfile.gettempdir()) / "vllm-cache"
        self._archive = volume / f"vllm-{model}.tar"
        self._restored: set[Path] = set()

    def restore(self) -> None:
        """Lay out what has been published, if anything; without it, or where it is damaged, vLLM compiles."""
        try:
            with tarfile.open(self._archive) as archive:
                archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
                archive.extractall(self.folder)
        except FileNotFoundError:
            return
        except (OSError, tarfile.TarError) as error:
            _log.warning("vLLM compiles anew: %s cannot be read (%s).", self._archive, error)
            shutil.rmtree(self.folder, ignore_errors=True)
        self._restored = self._files()

    def publish(self) -> None:
        """Keep what is there now, if there is more than was restored."""
        if self._files() <= self._restored:
            return
        partial = self._archive.with_name(f"{self._archive.name}.{os.getpid()}-{time.time_ns()}")
        try:
            with tarfile.open(partial, "w") as archive:
                archive.add(self.folder, ".")
            partial.replace(self._archive)
        except OSError as error:
            _log.warning("What vLLM compiled is not kept: %s", error)
            partial.unlink(missing_ok=True)

    def _files(self) -> set[Path]:
        return {path for path in self.folder.rglob("*") if path.is_file()}
