"""Simulations, their parts side by side."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from bench.scale.simulation import TURNS, Case, Outcome, Task, outcome, play, tasks

Progress = Callable[[float, float], None]
"""Told the work that is done and the work that there is, both in turns."""


class Runner:
    """Plays the parts of simulations on an executor, the longest first."""

    def __init__(self, executor: Executor, progress: Progress = lambda done, total: None) -> None:
        self._executor = executor
        self._progress = progress
        self._done = self._total = 0.0

    def simulate(self, cases: Sequence[Case], turns: int = TURNS) -> list[Outcome]:
        """The outcome of each case, in order; the same as of `bench.scale.simulation.simulate`."""
        planned = [tasks(case, turns) for case in cases]
        longest_first = sorted((task for one in planned for task in one), key=_turns, reverse=True)
        self._total += sum(map(_turns, longest_first))
        playing = {id(task): self._executor.submit(play, task) for task in longest_first}
        outcomes = []
        for one in planned:
            measured = []
            for task in one:
                measured.append(playing[id(task)].result())
                self._done += _turns(task)
                self._progress(self._done, self._total)
            outcomes.append(outcome(one, measured))
        return outcomes


def _turns(task: Task) -> float:
    """That are played for it, about."""
    hours = (task.part.end_s - task.part.begin_s) / 3600
    return hours * task.case.load.turns_per_hour * task.case.day.factor(task.part.begin_s)
