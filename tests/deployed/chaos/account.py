"""What came of every turn."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """How a turn ended; each has exactly one."""

    ANSWERED = "answered"
    NO_SPEECH = "no speech, as it was"
    CANCELLED = "cancelled by its client"
    OVERLOADED = "refused as overloaded"
    REJECTED = "refused as bad input"
    FAILED = "failed, to be tried again"
    WRONG = "wrong"  # something that is not the question's own, or failed for good
    DOUBLED = "doubled"  # something came twice or out of order
    LOST = "lost"  # no end came, or an error of no known kind


FAULTS = (Verdict.WRONG, Verdict.DOUBLED, Verdict.LOST)


@dataclass
class Account:
    """The turns by how they ended, what was broken meanwhile, and what was left behind."""

    turns: int
    seed: int
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    """Of turns that are to be tried again: by stage and kind."""
    troubles: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    """What was wrong, doubled or lost, one line each."""
    leaked_calls: int = 0
    leaked_processes: int = 0
    took_s: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing came that must not, every turn is accounted for, and nothing is left."""
        counted = sum(self.verdicts.values()) == self.turns
        faults = any(self.verdicts[fault] for fault in FAULTS)
        return counted and not faults and not self.leaked_calls and not self.leaked_processes

    def as_json(self) -> Mapping[str, object]:
        """The account, for a program."""
        return {
            "turns": self.turns,
            "seed": self.seed,
            **{verdict.name.lower(): self.verdicts[verdict] for verdict in Verdict},
            "leaked_calls": self.leaked_calls,
            "leaked_processes": self.leaked_processes,
            "failures": dict(self.failures),
            "troubles": dict(self.troubles),
            "faults": self.faults,
            "took_s": round(self.took_s, 1),
            "clean": self.clean,
        }

    def as_text(self) -> str:
        """The account, for a person."""
        must_be_0 = {
            **{verdict.value: self.verdicts[verdict] for verdict in FAULTS},
            "calls still under way": self.leaked_calls,
            "processes left behind": self.leaked_processes,
        }
        others = {v.value: self.verdicts[v] for v in Verdict if v not in FAULTS}
        lines = [
            f"{self.turns} turns, seed {self.seed}, {self.took_s:.0f} s",
            *_table(others),
            "Failed, by stage and kind",
            *_table(self.failures),
            "Troubles made",
            *_table(self.troubles),
            "Must be 0",
            *_table(must_be_0),
            *self.faults,
        ]
        return "\n".join(lines)


def _table(counts: Mapping[str, int]) -> list[str]:
    return [f"  {count:6d}  {name}" for name, count in counts.items()]
