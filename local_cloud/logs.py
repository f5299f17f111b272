"""What containers print, and events about them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_proto import api_pb2 as pb

from local_cloud.events import Event, Kind, Signal

if TYPE_CHECKING:
    from local_cloud.container import Container

LINES_KEPT = 100_000


@dataclass(frozen=True)
class LogLine:
    """One line, with its line end."""

    position: int
    at: float
    app_id: str
    function_id: str
    container_id: str
    stream: "pb.FileDescriptor.ValueType"
    text: str

    def as_batch(self) -> pb.TaskLogsBatch:
        """Return the line as the client reads it."""
        item = pb.TaskLogs(data=self.text, timestamp=self.at, file_descriptor=self.stream)
        item.timestamp_ns = int(self.at * 1e9)
        return pb.TaskLogsBatch(
            task_id=self.container_id,
            function_id=self.function_id,
            entry_id=f"{self.position}-0",
            items=[item],
        )


class LogBook:
    """Every line of every container, in order, and one stream of events for an observer."""

    def __init__(self) -> None:
        self.changed = Signal()
        self.watch: Callable[[Event], None] = lambda event: None
        self._lines: list[LogLine] = []
        self._next = 1

    def event(self, kind: Kind, app: str, text: str) -> None:
        """Emit an event."""
        self.watch(Event(kind, app, text))

    def add(self, container: "Container", text: str, stream: "pb.FileDescriptor.ValueType") -> None:
        """Keep one line of a container, and emit it."""
        function = container.function
        line = LogLine(self._next, time.time(), function.app.id, function.id, container.id, stream, text)
        self._lines.append(line)
        self._next += 1
        del self._lines[:-LINES_KEPT]
        self.event(Kind.OUTPUT, function.app.name, text.rstrip())
        self.changed.notify()

    def after(self, app_id: str, position: int) -> Sequence[LogLine]:
        """Return an app's lines that came after a position (0: all of them)."""
        return [line for line in self._lines if line.app_id == app_id and line.position > position]

    def between(self, app_id: str, since: float, until: float) -> Sequence[LogLine]:
        """Return an app's lines of a time, in seconds since the epoch, the end not included."""
        return [line for line in self._lines if line.app_id == app_id and since <= line.at < until]

    def of_container(self, container_id: str) -> Sequence[LogLine]:
        """Return a container's lines."""
        return [line for line in self._lines if line.container_id == container_id]
