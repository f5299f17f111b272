"""The metrics file: a JSON line when a conversation begins, one for each turn, one when it ends."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from client.errors import OutputNotWritten
from conversation.turn_record import TurnRecord
from shared.errors import BadRequest
from shared.ledger import Microseconds
from shared.payloads import Payload, first_problem
from shared.turn import Identifier

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 2**20
MAX_LINES = 100_000
_MAX_PROBLEM_CHARACTERS = 200


class ConversationStarted(Payload):
    """A conversation begins."""

    record: Literal["conversation_started"] = "conversation_started"
    session_id: Identifier
    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


class ConversationEnded(Payload):
    """A conversation ends."""

    record: Literal["conversation_ended"] = "conversation_ended"
    session_id: Identifier
    duration_us: Microseconds
    microphone_lost_us: Microseconds = 0
    """Microphone audio that was lost, since this machine was too busy."""


MetricsLine = Annotated[ConversationStarted | TurnRecord | ConversationEnded, Field(discriminator="record")]
"""A line of the file. Fields that only a newer version knows are ignored; a new field must have a default."""

_LINE: TypeAdapter[MetricsLine] = TypeAdapter(MetricsLine)


class BadMetrics(BadRequest):
    """A file is no metrics file, or a line of it is damaged; the message says which."""

    kind = "bad_metrics"


class MetricsFile:
    """Appends lines to a file. Each is written whole, at once, so that a crash later loses none.

    Raises OutputNotWritten if the file cannot be written. If that shows later (a full disk), it is logged
    once, and no more is written: the conversation is worth more than its metrics.
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

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, line: MetricsLine) -> None:
        """Append a line."""
        if self._broken:
            return
        unwritten = line.model_dump_json().encode() + b"\n"
        try:
            while unwritten:  # a file that is not buffered may take a part
                unwritten = unwritten[self._file.write(unwritten) :]
        except OSError as error:
            self._broken = True
            logger.warning("No more metrics are written to %s: %s.", self._file.name, error.strerror)

    def _begin_a_line(self) -> None:
        """Leave what a full disk has cut off as a line of its own."""
        if self._file.seekable() and self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")


def read_metrics(path: Path) -> list[MetricsLine]:
    """The lines of a metrics file; empty ones are skipped.

    Raises BadMetrics if the file cannot be read, has more than MAX_LINES lines or one of more than
    MAX_LINE_BYTES bytes, or a line is not what `MetricsFile` writes.
    """
    lines: list[MetricsLine] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
                if number > MAX_LINES:
                    raise BadMetrics(f"{path} has more than {MAX_LINES:,} lines. Report a part of it.")
                if line.strip():
                    lines.append(_parsed(line, number, path))
    except OSError as error:
        raise BadMetrics(f"Metrics file {path} cannot be read: {error.strerror}.") from None
    return lines


def _parsed(line: bytes, number: int, path: Path) -> MetricsLine:
    try:
        if len(line) > MAX_LINE_BYTES:
            raise BadMetrics(f"Line {number} of {path} is too long for a metrics file.")
        return _LINE.validate_json(line)
    except ValidationError as error:
        raise BadMetrics(
            f"Line {number} of {path} is damaged ({first_problem(error)[:_MAX_PROBLEM_CHARACTERS]}). "
            "Delete that line to have the others reported."
        ) from None
