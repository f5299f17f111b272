"""What the orchestrator's log says of its turns: the sums of an hour."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from orchestrator.turn_log import TURN
from shared.logs import read_fields

MAX_ERRORS = 5


@dataclass(frozen=True)
class TurnError:
    """A turn that failed."""

    at: datetime
    stage: str
    kind: str
    message: str


@dataclass
class LastHour:
    """Turns by how they ended, failures by stage, cold starts by stage, time to first audio."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    cold_starts: Counter[str] = field(default_factory=Counter)
    first_audio_ms: list[float] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    """By stage, those of the last turn that told of one."""
    errors: list[TurnError] = field(default_factory=list)
    """The last of them, newest first."""

    @property
    def turns(self) -> int:
        """How many turns ended."""
        return self.outcomes.total()

    @property
    def first_audio_p50_ms(self) -> float | None:
        """The median time to first audio."""
        return float(np.percentile(self.first_audio_ms, 50)) if self.first_audio_ms else None

    @property
    def first_audio_p95_ms(self) -> float | None:
        """The time to first audio that 95 of 100 turns kept."""
        return float(np.percentile(self.first_audio_ms, 95)) if self.first_audio_ms else None


def summed(lines: Iterable[tuple[datetime, str]]) -> LastHour:
    """Sum the turns' lines among log lines, oldest first; all others are passed over."""
    hour = LastHour()
    for at, line in lines:
        fields = read_fields(line, TURN)
        if fields and "outcome" in fields:
            _add(hour, at, {name: str(value) for name, value in fields.items() if value is not None})
    hour.errors = hour.errors[::-1][:MAX_ERRORS]
    return hour


def _add(hour: LastHour, at: datetime, turn: dict[str, str]) -> None:
    hour.outcomes[turn["outcome"]] += 1
    if "first_audio_ms" in turn:
        hour.first_audio_ms.append(float(turn["first_audio_ms"]))
    if "cold" in turn:
        hour.cold_starts.update(turn["cold"].split(","))
    hour.models |= {stage: turn[stage] for stage in ("asr", "llm", "tts") if turn.get(stage)}
    if "error" in turn:
        stage = turn.get("error_stage", "")
        hour.failures[stage] += 1
        hour.errors.append(TurnError(at, stage, turn["error"], turn.get("error_message", "")))
