"""The lines of sessions in a file, one JSON object each: written as they come, read again for a report."""

import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from client.errors import OutputNotWritten
from client.metrics.session_line import SessionLine
from shared.errors import BadRequest
from shared.payloads import first_problem

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 2**20
MAX_LINES = 100_000
_MAX_PROBLEM_CHARACTERS = 200

_LINE: TypeAdapter[SessionLine] = TypeAdapter(SessionLine)


class BadMetrics(BadRequest):
    """A file is no metrics file, or a line of it is damaged; the message says which."""

    kind = "bad_metrics"


class MetricsFile:
    """Appends lines to a file. Each is written whole, at once: what ends the program later takes none.

    Raises OutputNotWritten if the file cannot be written. If that shows later (a full disk), it is logged
    once, and nothing more is written: the session is worth more than its record.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("ab+", buffering=0)
            self._begin_a_line()
        except OSError as error:
            raise OutputNotWritten(f"Metrics file {path} cannot be written: {error.strerror}.") from error
        self._broken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, line: SessionLine) -> None:
        """Append a line."""
        if self._broken:
            return
        try:
            self._file.write(line.model_dump_json().encode() + b"\n")
        except OSError as error:
            self._broken = True
            logger.warning("%s is not written any more: %s.", self._file.name, error.strerror)

    def _begin_a_line(self) -> None:
        """Leave what a full disk has cut off as a line of its own."""
        if self._file.seekable() and self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")


def read_metrics(path: Path) -> list[SessionLine]:
    """The lines of a metrics file; empty ones are passed over.

    Raises BadMetrics if the file cannot be read, has more than MAX_LINES lines or one of more than
    MAX_LINE_BYTES bytes, or a line is not what `MetricsFile` writes.
    """
    lines: list[SessionLine] = []
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number > MAX_LINES:
                    raise BadMetrics(f"{path} has more than {MAX_LINES:,} lines. Report a part of it.")
                if line.strip():
                    lines.append(_parsed(line, number, path))
    except OSError as error:
        raise BadMetrics(f"Metrics file {path} cannot be read: {error.strerror}.") from None
    return lines


def _parsed(line: bytes, number: int, path: Path) -> SessionLine:
    try:
        if len(line) > MAX_LINE_BYTES:
            raise BadMetrics(f"Line {number} of {path} is too long for a session's metrics.")
        return _LINE.validate_json(line)
    except ValidationError as error:
        raise BadMetrics(
            f"Line {number} of {path} is damaged ({first_problem(error)[:_MAX_PROBLEM_CHARACTERS]}). "
            "Delete that line to have the others reported."
        ) from None
