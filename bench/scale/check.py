"""`python -m bench.scale.check`: the simulated pool against the local cloud. The same calls at the same times
by the same settings: containers that start, the time that they are alive, and the time that calls wait must
agree within a tenth. Eight minutes, on a quiet machine: real containers start, one by one.

The local cloud is our own reading of Modal's rules. So this says that the simulation follows these rules, and
not that Modal does.
"""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any
from unittest.mock import patch

import numpy as np
import simpy
import typer
from rich.console import Console
from rich.table import Table

from bench.machine import machine
from bench.scale.pool import Pool
from bench.scale.turn import Steps
from bench.tables import figures_table
from client.cost.containers import Scaling
from local_cloud import DEFAULT_CACHE, ControlPlane
from local_cloud.events import Event, Kind

WITHIN = 0.10
WAIT_S = 0.05
"""Waits that differ by no more do not count: so much a call's way differs."""

SLOW_START_S = 3.0
"""Added to each cold start, most of which it is, so that it hardly depends on what else the machine does."""

PHASES = ((25.0, 1.2), (15.0, 0.0), (20.0, 2.0), (20.0, 0.15), (20.0, 1.6))
"""Seconds, and calls a second in them."""

WORK_S = 1.5
"""A call's, on average; exponentially distributed."""

WARM_CALLS = 10

_PROGRAM = """
import asyncio
import time

import modal

app = modal.App("{app}")


@app.function(
    min_containers={scaling.min_containers},
    max_containers={scaling.max_containers},
    buffer_containers={scaling.buffer_containers},
    scaledown_window={window_s},
)
@modal.concurrent(max_inputs={max_inputs}, target_inputs={scaling.calls_at_once})
async def work(seconds):
    began_s = time.time()
    await asyncio.sleep(seconds)
    return began_s, time.time()
"""


@dataclass(frozen=True)
class Setting:
    """What a pool is deployed with."""

    app: str
    title: str
    scaling: Scaling
    max_inputs: int


SETTINGS = (
    Setting("check-one", "one call a container", Scaling(1, 6, max_containers=8), 2),
    Setting("check-kept", "minimum 1, buffer 1", Scaling(1, 6, 1, 8, 1), 2),
    Setting("check-two", "two calls a container", Scaling(2, 6, max_containers=6), 3),
)


@dataclass(frozen=True)
class Call:
    """When it comes, from the first one's phase on, and how long its work takes."""

    at_s: float
    work_s: float


@dataclass(frozen=True)
class Figures:
    """What is compared."""

    starts: int
    alive_s: float
    mean_wait_s: float
    p95_wait_s: float


@dataclass
class Observed:
    """An app's containers in the local cloud, by its events; in seconds since the epoch."""

    app: str
    started_s: dict[str, float] = field(default_factory=dict)
    ready_s: dict[str, float] = field(default_factory=dict)
    stopped_s: dict[str, float] = field(default_factory=dict)

    def watch(self, event: Event) -> None:
        """Note an event."""
        named = re.match(r"work, container \d+", event.text) if event.app == self.app else None
        kept = {Kind.STARTING: self.started_s, Kind.READY: self.ready_s, Kind.STOPPING: self.stopped_s}
        if named and event.kind in kept:
            kept[event.kind][named[0]] = event.at


@dataclass(frozen=True)
class Costs:
    """What the local cloud takes beside the rules, measured: a cold start, a call's way to its container and
    back. In seconds."""

    start_s: float
    to_s: float
    back_s: float


def calls(seed: int) -> list[Call]:
    """The load, the same for both."""
    chance = np.random.default_rng(seed)
    planned, began_s = [], 0.0
    for length_s, per_s in PHASES:
        times_s = chance.uniform(began_s, began_s + length_s, chance.poisson(length_s * per_s))
        planned += [Call(float(at_s), float(chance.exponential(WORK_S))) for at_s in times_s]
        began_s += length_s
    return sorted(planned, key=lambda call: call.at_s)


async def in_the_local_cloud(
    plane: ControlPlane, setting: Setting, planned: Sequence[Call]
) -> tuple[Figures, Costs]:
    """Real calls of real containers, and what they take beside the rules."""
    observed = Observed(setting.app)
    plane.watch(observed.watch)
    await asyncio.to_thread(_deploy, setting)
    return await _called(setting, planned, observed)


def simulated(setting: Setting, planned: Sequence[Call], costs: Costs) -> Figures:
    """The same calls of the simulated pool."""
    env, waits_s = simpy.Environment(), list[float]()
    pool = Pool(env, setting.scaling, max_inputs=setting.max_inputs, start_s=costs.start_s)

    def call(one: Call) -> Steps:
        yield env.timeout(one.at_s + costs.to_s)
        container = pool.take() or (yield pool.wait())
        assert container is not None
        waits_s.append(env.now - one.at_s)
        yield env.timeout(one.work_s + costs.back_s)
        pool.end(container)

    for one in planned:
        env.process(call(one))
    env.run(_end_s(setting))
    usage = pool.usage()
    return Figures(usage.starts, usage.alive * env.now, mean(waits_s), float(np.quantile(waits_s, 0.95)))


def _end_s(setting: Setting) -> float:
    """By then all is idle."""
    return sum(length_s for length_s, _ in PHASES) + 15 * WORK_S + setting.scaling.window_s


def _deploy(setting: Setting) -> None:
    scaling = setting.scaling
    program = _PROGRAM.format(
        app=setting.app, scaling=scaling, max_inputs=setting.max_inputs, window_s=round(scaling.window_s)
    )
    with tempfile.TemporaryDirectory(prefix="scale-check-") as folder:
        (Path(folder) / "scale_check.py").write_text(program)
        command = [sys.executable, "-m", "modal", "deploy", "-m", "scale_check"]
        environ = os.environ | {"PYTHONPATH": folder}
        subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)


async def _called(setting: Setting, planned: Sequence[Call], observed: Observed) -> tuple[Figures, Costs]:
    import modal  # reads the variables of the local cloud

    work = modal.Function.from_name(setting.app, "work")
    to_s, back_s = await _warm_call(work)
    await asyncio.sleep(setting.scaling.window_s + 2 * SLOW_START_S + 5)  # until the minimum alone runs
    before = set(observed.started_s)
    began_s = time.time()

    async def call(one: Call) -> float:
        await asyncio.sleep(began_s + one.at_s - time.time())
        asked_s = time.time()
        at_work_s, _ = await work.remote.aio(one.work_s)
        return float(at_work_s - asked_s)

    waits_s = await asyncio.gather(*(call(one) for one in planned))
    ended_s = began_s + _end_s(setting)
    await asyncio.sleep(ended_s - time.time())
    started = observed.started_s.keys() - before
    alive_s = sum(
        min(ended_s, observed.stopped_s.get(name, ended_s)) - max(began_s, at_s)
        for name, at_s in observed.started_s.items()
        if observed.stopped_s.get(name, ended_s) > began_s
    )
    starts_s = [observed.ready_s[name] - observed.started_s[name] for name in started]
    figures = Figures(len(started), alive_s, mean(waits_s), float(np.quantile(waits_s, 0.95)))
    return figures, Costs(mean(starts_s), to_s, back_s)


async def _warm_call(work: Any) -> tuple[float, float]:
    ways_s = []
    for number in range(WARM_CALLS + 1):
        asked_s = time.time()
        began_s, ended_s = await work.remote.aio(0.0)
        if number:  # the first one may have met a cold start
            ways_s.append((began_s - asked_s, time.time() - ended_s))
    return median(to_s for to_s, _ in ways_s), median(back_s for _, back_s in ways_s)


def _differences(real: Figures, same: Figures) -> dict[str, float]:
    """By figure, against the local cloud's."""
    pairs = {name: (figure, getattr(same, name)) for name, figure in asdict(real).items()}
    return {name: theirs / ours - 1 for name, (ours, theirs) in pairs.items()}


def _counts(name: str, real: Figures, same: Figures) -> bool:
    return not name.endswith("wait_s") or abs(getattr(real, name) - getattr(same, name)) > WAIT_S


def check(seed: int = 1) -> None:
    """Compare, setting by setting."""
    with (
        ControlPlane(cache=DEFAULT_CACHE) as plane,
        patch.dict(os.environ, plane.environ),
        plane.slow_starts(SLOW_START_S),
    ):
        worst = asyncio.run(_compared(plane, calls(seed)))
    if worst > WITHIN:
        print(f"They differ by {worst:.0%}: more than {WITHIN:.0%}. Is the machine quiet?")
        raise typer.Exit(1)


async def _compared(plane: ControlPlane, planned: Sequence[Call]) -> float:
    """The largest difference."""
    console, table, worst = Console(width=100), _table(len(planned)), 0.0
    for setting in SETTINGS:
        with console.status(f"{setting.title} …"):
            real, costs = await in_the_local_cloud(plane, setting, planned)
        same = simulated(setting, planned, costs)
        differences = _differences(real, same)
        worst = max(worst, *(abs(one) for name, one in differences.items() if _counts(name, real, same)))
        for side, figures in (("local cloud", real), ("simulation", same)):
            table.add_row(
                setting.title,
                side,
                f"{costs.start_s:.2f} s",
                str(figures.starts),
                f"{figures.alive_s:.0f} s",
                f"{figures.mean_wait_s:.2f} s",
                f"{figures.p95_wait_s:.2f} s",
            )
        table.add_row(
            "", "difference", "", *(f"{one:+.1%}" for one in differences.values()), end_section=True
        )
    console.print(f"[bold]{machine()}[/]")
    console.print(table)
    return worst


def _table(count: int) -> Table:
    return figures_table(
        f"The simulation against the local cloud: {count} calls of {WORK_S:g} s in {len(PHASES)} phases",
        "setting", "side", "cold start", "containers started", "alive", "mean wait", "p95",
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(check)
