"""Collects the records of one conversation."""

from collections.abc import Callable
from typing import Self
from uuid import uuid4

from client.audio.microphone import Microphone
from client.metrics.metrics_file import ConversationEnded, ConversationStarted, MetricsFile, MetricsLine
from client.metrics.summary import Summary, summarized
from shared.engines import ASR_SAMPLE_RATE_HZ


class ConversationMetrics:
    """Collects the records of turns, and writes them to a file as they come. Entered and left with the
    conversation.

    `now` returns seconds and never goes back (an event loop's `time`).
    """

    def __init__(
        self,
        now: Callable[[], float],
        file: MetricsFile | None = None,
        microphone: Microphone | None = None,
    ) -> None:
        self.session_id = uuid4().hex
        self._now = now
        self._began_s = now()
        self._file = file
        self._microphone = microphone
        self._lines: list[MetricsLine] = []

    def __enter__(self) -> Self:
        self.add(ConversationStarted(session_id=self.session_id))
        return self

    def __exit__(self, *error: object) -> None:
        lost = self._microphone.lost_samples if self._microphone else 0
        self.add(
            ConversationEnded(
                session_id=self.session_id,
                duration_us=max(0, round((self._now() - self._began_s) * 1e6)),
                microphone_lost_us=lost * 1_000_000 // ASR_SAMPLE_RATE_HZ,
            )
        )

    def add(self, line: MetricsLine) -> None:
        """Add a turn that is over."""
        self._lines.append(line)
        if self._file:
            self._file.write(line)

    def summary(self) -> Summary:
        """The sums so far."""
        return summarized(self._lines)
