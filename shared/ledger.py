"""Where the time of a turn went: contiguous spans that sum to the total, to the microsecond."""

from collections.abc import Callable
from itertools import accumulate
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.errors import Stage
from shared.payloads import Payload

Activity = Literal["checks", "start", "first token", "work", "transport", "delivery", "held", "lost"]
"""What a span was spent on: `start` is a cold start, a queue and the way there; `transport` is the
caller's time minus the callee's; `delivery` is waiting for the client to take its events; `held`
is waiting until the request allows a second chunk; `lost` is an attempt that failed."""


Microseconds = Annotated[int, Field(ge=0, le=10**15)]
"""A duration of at most 31 years: what claims more is damaged."""


class Span(Payload):
    """A stretch of the critical path."""

    stage: Stage
    activity: Activity
    duration_us: Microseconds


class StageBusy(Payload):
    """How long a stage worked in all its calls, by its own clock. Stages overlap: never sum these."""

    stage: Stage
    calls: int = Field(ge=1)
    busy_us: Microseconds


class Ledger(Payload):
    """The spans of a turn, in order, from the request's arrival to its end.

    They are contiguous and lie on the critical path: the first ones sum to `time_to_first_audio_us`
    (None if no audio came), all of them to `total_us`. Anything else is no Ledger.
    """

    spans: tuple[Span, ...]
    time_to_first_audio_us: Microseconds | None = None
    total_us: Microseconds
    busy: tuple[StageBusy, ...] = ()

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        ends = [0, *accumulate(span.duration_us for span in self.spans)]
        if ends[-1] != self.total_us:
            raise ValueError(f"spans sum to {ends[-1]} µs, not to {self.total_us} µs")
        if self.time_to_first_audio_us is not None and self.time_to_first_audio_us not in ends:
            raise ValueError("no span ends at the first audio")
        return self


class LedgerClock:
    """Writes the ledger of one turn while it runs, by one monotonic clock.

    `now` returns seconds and never goes back (an event loop's `time`, say).
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._start_us = self._last_us = self.now_us()
        self._first_audio_us: int | None = None
        self._spans: list[Span] = []
        self._busy: dict[Stage, StageBusy] = {}

    def now_us(self) -> int:
        """The clock, in whole microseconds."""
        return round(self._now() * 1e6)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request's arrival."""
        return (self.now_us() - self._start_us) / 1e6

    def lap(
        self, stage: Stage, activity: Activity, *, until_us: int | None = None, callee_us: int | None = None
    ) -> None:
        """Book the time since the last lap; with `callee_us`, what exceeds it is booked as transport.

        `until_us` ends the lap at an earlier time than now (never before the last one).
        """
        end_us = self.now_us() if until_us is None else until_us
        elapsed_us = max(0, end_us - self._last_us)
        worked_us = elapsed_us if callee_us is None else max(0, min(callee_us, elapsed_us))
        self._book(stage, activity, worked_us)
        self._book(stage, "transport", elapsed_us - worked_us)
        self._last_us += elapsed_us

    def first_audio(self) -> None:
        """Mark the end of the last lap as the moment when the first audio went out; once."""
        if self._first_audio_us is None:
            self._first_audio_us = self._last_us - self._start_us

    def busy(self, stage: Stage, busy_us: int) -> None:
        """Add the time that a call of a stage reports."""
        so_far = self._busy.get(stage)
        calls, total_us = (so_far.calls, so_far.busy_us) if so_far else (0, 0)
        self._busy[stage] = StageBusy(stage=stage, calls=calls + 1, busy_us=total_us + busy_us)

    def ledger(self) -> Ledger:
        """The ledger up to the last lap."""
        return Ledger(
            spans=tuple(self._spans),
            time_to_first_audio_us=self._first_audio_us,
            total_us=self._last_us - self._start_us,
            busy=tuple(self._busy.values()),
        )

    def _book(self, stage: Stage, activity: Activity, duration_us: int) -> None:
        if duration_us:
            self._spans.append(Span(stage=stage, activity=activity, duration_us=duration_us))
