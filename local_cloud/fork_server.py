"""The processes of containers, forked off one that has imported Modal's client.

The import takes 0.3 s of CPU, most of what a container's start costs; a fork and what follows take 0.03 s. In
an image's interpreter this file is a program, the fork server, which imports nothing of ours. It forks at
each request, and says how each child ended. A child is what `python -m modal._container_entrypoint` would be.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import queue
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

ENTRY_POINT = "modal._container_entrypoint"

_AT_START = re.compile(
    r"(PYTHON(?!PATH$)|LD_|DYLD_|LC_|MODAL_LOG)\w*|LANG|HOME|TZ|TMPDIR|MODAL_(IS_REMOTE|CONFIG_PATH)"
)
"""Variables that Python, its libraries or Modal's client read when they are loaded, and never again."""
_KILL_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG


@dataclass(frozen=True)
class Forked:
    """A process in a group of its own. `status` is its exit status, negative for a signal; what it prints
    comes out of the two file descriptors, which are the owner's to close."""

    pid: int
    stdout: int
    stderr: int
    status: "Future[int]"


@dataclass
class ForkServers:
    """One for each interpreter that is used, until closed. For any thread."""

    _servers: "dict[object, _Server]" = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fork(self, interpreter: Path, environ: Mapping[str, str], folder: Path) -> Forked:
        """Start a process with these variables in this folder, the first of its import path; blocking.

        Raises OSError if it cannot be started: in that interpreter Modal's client cannot be imported, say.
        """
        at_start = {name: value for name, value in environ.items() if _AT_START.fullmatch(name)}
        key = (interpreter, *sorted(at_start.items()))
        with self._lock:
            server = self._servers.get(key)
            if server and server.has_ended:
                server.close()
            if server is None or server.has_ended:
                server = self._servers[key] = _Server(interpreter, at_start)
        return server.fork(environ, folder)

    def close(self) -> None:
        """End them, and with them all processes that they forked."""
        with self._lock:
            for server in self._servers.values():
                server.close()
            self._servers.clear()


class _Server:
    def __init__(self, interpreter: Path, environ: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed once it has ended)
        self._last_words = ""
        self.has_ended = False
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [interpreter, "-P", __file__, str(theirs.fileno())],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._lock = threading.Lock()
        self._forked: queue.SimpleQueue[tuple[int, Future[int]] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="fork-server", daemon=True)
        self._reader.start()

    def fork(self, environ: Mapping[str, str], folder: Path) -> Forked:
        stdout, their_stdout = os.pipe()
        stderr, their_stderr = os.pipe()
        request = json.dumps({"environ": dict(environ), "folder": str(folder)}) + "\n"
        try:
            with self._lock:
                with contextlib.suppress(OSError):  # it has ended: see below
                    socket.send_fds(self._socket, [request.encode()], [their_stdout, their_stderr])
                forked = self._forked.get()
        finally:
            os.close(their_stdout)
            os.close(their_stderr)
        if forked is None:
            self._forked.put(None)  # for the next one, too
            os.close(stdout)
            os.close(stderr)
            raise OSError(f"no container can be started in this image: {self._last_words}")
        return Forked(forked[0], stdout, stderr, forked[1])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._reader.join()
        self._process.wait()
        self._socket.close()

    def _read(self) -> None:
        statuses: dict[int, Future[int]] = {}
        with self._socket.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                pid, status = json.loads(line)
                if status is None:
                    statuses[pid] = Future()
                    statuses[pid].set_running_or_notify_cancel()  # who no longer waits does not end it
                    self._forked.put((pid, statuses[pid]))
                else:
                    statuses.pop(pid).set_result(status)
        self.has_ended = True
        for left in statuses.values():
            left.set_result(-signal.SIGKILL)
        with self._errors:
            self._errors.seek(0)
            printed = self._errors.read().decode(errors="replace").strip()
        self._last_words = printed.rpartition("\n")[2] or "its fork server has ended"
        self._forked.put(None)


def _serve(control: socket.socket) -> dict[str, Any]:
    """Fork at each request; returns in the child alone, with its request."""
    importlib.import_module(ENTRY_POINT)
    del sys.modules[ENTRY_POINT]  # it is run as __main__
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux
    gc.freeze()
    children: set[int] = set()
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # for the children; nohup ignores it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a child that is just forked would lose it
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if control in ready:
            request, fds = _received(control)
            if not request:
                _end(children)
            server = os.getpid()
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, 0)
                if prctl:
                    prctl(_KILL_WITH_PARENT, signal.SIGKILL)
                    if os.getppid() != server:
                        os._exit(1)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for number, descriptor in enumerate(fds, start=1):
                    os.dup2(descriptor, number)
                    os.close(descriptor)
                for one in (control, woken, wake):
                    one.close()
                made: dict[str, Any] = json.loads(request)
                return made
            with contextlib.suppress(OSError):  # it has done so itself, or has ended
                os.setpgid(pid, pid)
            for descriptor in fds:
                os.close(descriptor)
            children.add(pid)
            control.sendall(json.dumps([pid, None]).encode() + b"\n")
        if woken in ready:
            woken.recv(4096)
            while children:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                children.discard(pid)
                control.sendall(json.dumps([pid, os.waitstatus_to_exitcode(status)]).encode() + b"\n")


def _received(control: socket.socket) -> tuple[bytes, list[int]]:
    """One request and its file descriptors; nothing at the end."""
    request, fds, _, _ = socket.recv_fds(control, 2**16, 2)
    more = request
    while more and not more.endswith(b"\n"):
        more = control.recv(2**16)
        request += more
    return request if more else b"", list(fds)


def _end(children: set[int]) -> NoReturn:
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    _request = _serve(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(_request["environ"])
    os.chdir(_request["folder"])
    sys.path.insert(0, _request["folder"])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    runpy.run_module(ENTRY_POINT, run_name="__main__", alter_sys=True)
