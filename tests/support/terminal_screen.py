"""What a person sees of a program that runs in a terminal."""

import os
import pty
import struct
import subprocess
import threading
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pyte

from tests.support.waiting import GIVE_UP_S

COLUMNS, ROWS = 80, 24


class TerminalScreen:
    """A terminal's screen, to which output is written."""

    def __init__(self) -> None:
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=1000)
        self._stream = pyte.ByteStream(self._screen)
        self.seen: list[list[str]] = []
        """What stood there after each write, with what had moved out at the top."""

    def write(self, output: bytes) -> None:
        """As a program does it that leaves line ends to the terminal."""
        self._stream.feed(output)
        self.seen.append(self._now())

    @property
    def lines(self) -> list[str]:
        """What stands there now, without the empty lines below."""
        return self.seen[-1] if self.seen else []

    @property
    def cursor_is_visible(self) -> bool:
        return not self._screen.cursor.hidden

    def has_shown(self, text: str) -> bool:
        """Whether it stood there at any time."""
        return any(text in line for lines in list(self.seen) for line in lines)

    def _now(self) -> list[str]:
        above = ["".join(line[column].data for column in range(COLUMNS)) for line in self._screen.history.top]
        lines = [line.rstrip() for line in [*above, *self._screen.display]]
        while lines and not lines[-1]:
            lines.pop()
        return lines


class ProgramInTerminal:
    """A program that runs in a terminal, in a process group of its own."""

    def __init__(self, command: Sequence[str | Path], cwd: Path, env: dict[str, str] | None = None) -> None:
        ours, its = pty.openpty()
        ioctl(its, TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        env = {**(env or os.environ), "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=its, stdout=its, stderr=its, start_new_session=True
        )
        os.close(its)
        self.screen = TerminalScreen()
        self._reading = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reading.start()

    def ended(self) -> int:
        """Wait for its end; returns its exit code."""
        exit_code = self.process.wait(timeout=GIVE_UP_S)
        self._reading.join()
        return exit_code

    def _read(self, ours: int) -> None:
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            try:
                while output := terminal.read(65_536):
                    self.screen.write(output)
            except OSError:  # so Linux says that the program has ended
                pass
