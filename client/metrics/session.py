"""A session with the assistant: what happened, turn by turn."""

from collections.abc import Callable
from types import TracebackType
from typing import Self
from uuid import uuid4

from client.audio.microphone import SAMPLE_RATE_HZ, Microphone
from client.metrics.metrics_file import MetricsFile
from client.metrics.session_line import SessionEnded, SessionLine, SessionStarted
from client.metrics.session_summary import Summary, summarised
from client.metrics.turn_book import TurnBook
from client.metrics.turn_record import TurnRecord


class Session:
    """Gathers the records of turns; also into a file, as they come. It begins when it is made, and ends when
    it is left.

    `now` returns seconds and never goes back (an event loop's `time`). What the microphone has lost is told
    at the end.
    """

    def __init__(
        self,
        now: Callable[[], float],
        metrics: MetricsFile | None = None,
        microphone: Microphone | None = None,
    ) -> None:
        self.session_id = uuid4().hex
        self._now = now
        self._began_s = now()
        self._metrics = metrics
        self._microphone = microphone
        self._lines: list[SessionLine] = []

    def __enter__(self) -> Self:
        self._tell(SessionStarted(session_id=self.session_id))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        duration_us = max(0, round((self._now() - self._began_s) * 1e6))
        lost_us = self._microphone.lost_samples * 1_000_000 // SAMPLE_RATE_HZ if self._microphone else 0
        self._tell(
            SessionEnded(session_id=self.session_id, duration_us=duration_us, microphone_lost_us=lost_us)
        )

    def new_turn(self, speech_began_s: float) -> TurnBook:
        """The book of a turn in which the person began to speak at that moment."""
        return TurnBook(self._now, self.session_id, self._began_s, speech_began_s)

    def add(self, record: TurnRecord) -> None:
        """A turn is over."""
        self._tell(record)

    def summary(self) -> Summary:
        """The sums of what has happened so far."""
        return summarised(self._lines)

    def _tell(self, line: SessionLine) -> None:
        self._lines.append(line)
        if self._metrics:
            self._metrics.write(line)
