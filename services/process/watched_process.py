"""A program that runs beside us: its output is passed on and its last lines are kept, and neither it nor what
it starts outlives us."""

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

_LINES_KEPT = 30
_LINES_TIMEOUT_S = 2.0
_POLL_S = 0.02
_STRAGGLERS_S = 2.0
"""How long descendants have to tidy up (shared memory, say) once the process itself has ended."""


class WatchedProcess:
    """A process and its descendants, in a process group of their own.

    As soon as the process ends, so does the group; and when this process ends, however that happens.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        on_line: Callable[[str], object],
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """`on_line` is called with each line of its output, on a thread. `pass_fds` are file descriptors that
        it gets from us, under the same numbers. Raises OSError if the program is not there."""
        self._on_line = on_line
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        theirs, ours = os.pipe()
        self._open_while_we_live = os.fdopen(ours, "wb")
        with os.fdopen(theirs, "rb") as stdin:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    process_group=0,  # the terminal's Ctrl-C is for us: we end it
                    env=environ,
                    pass_fds=pass_fds,
                )
            except OSError:
                self._open_while_we_live.close()
                raise
            _end_with_us(stdin.fileno(), self._process.pid)
        self._reader = threading.Thread(target=self._read, name="process-log", daemon=True)
        self._reader.start()
        self._watcher = threading.Thread(target=self._watch, name="process-watch", daemon=True)
        self._watcher.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended, at most this long. Returns whether it has."""
        self._watcher.join(timeout_s)
        return not self._watcher.is_alive()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, and everything that it started with it."""
        return not self._watcher.is_alive()

    @property
    def how_it_ended(self) -> str:
        """ "ended with code 1" or "was ended by SIGKILL"; for a process that has ended."""
        code = self._process.returncode
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"

    @property
    def last_lines(self) -> str:
        """The end of its output, for the operator's log; for a process that has ended."""
        self._reader.join(_LINES_TIMEOUT_S)
        return "\n".join(self._lines) or "(none)"

    def end(self, grace_s: float) -> None:
        """Ask it to end, and kill it with all its descendants if that takes longer than `grace_s`."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        if not self.wait(grace_s):
            self._kill_group()
            self._watcher.join()
        self._open_while_we_live.close()
        self._reader.join(_LINES_TIMEOUT_S)

    def _watch(self) -> None:
        self._process.wait()
        with contextlib.suppress(ProcessLookupError):  # nobody is left
            os.killpg(self._process.pid, signal.SIGTERM)
            for _ in range(round(_STRAGGLERS_S / _POLL_S)):
                time.sleep(_POLL_S)
                os.killpg(self._process.pid, 0)
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                if line := line.rstrip():
                    self._lines.append(line)
                    self._on_line(line)


def _end_with_us(stdin: int, group: int) -> None:
    """Have SIGIO end the whole group when our end of its standard input closes, also in the middle of a long
    computation. Nothing is ever written there. PR_SET_PDEATHSIG would strike as soon as the thread ends that
    started the process."""
    fcntl.fcntl(stdin, fcntl.F_SETOWN, -group)
    fcntl.fcntl(stdin, fcntl.F_SETFL, fcntl.fcntl(stdin, fcntl.F_GETFL) | os.O_ASYNC)
