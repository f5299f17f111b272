"""The minimum, buffer and concurrency by which a deployment meets a goal, as cheaply as a search finds."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.scale.simulation import TURNS, Case, Outcome, app_of, containers_needed
from client.cost.deployment import PricedApp
from client.targets import App

SEARCHED_TURNS_PER_HOUR = 20_000
"""The search is made at no larger load: pools this large are alike, so the minimum and buffer that it finds
are multiplied, and what comes of it is simulated at the load itself."""

SEARCHED_TURNS = 6_000
MOST_STEPS = 30
FAILED_SHARE = 0.001
"""Of the turns may fail."""

Knob = Literal["calls_at_once", "min_containers", "buffer_containers"]
Simulate = Callable[[Sequence[Case], int], list[Outcome]]
"""Outcomes of cases, in order, each of about so many turns."""


@dataclass(frozen=True)
class Recommendation:
    """What a search came to."""

    goal_s: float
    fastest_s: float
    """The 95th percentile where no turn waits for a container or in one: no setting of these does better."""
    case: Case | None
    """With the recommended settings; None if none was found that meets the goal."""
    outcome: Outcome | None
    """Of it, at the load itself."""


def recommend(case: Case, goal_s: float, simulate: Simulate) -> Recommendation:
    """Search for the cheapest settings with which the 95th percentile of voice-to-voice meets the goal."""
    times = max(1.0, case.load.turns_per_hour / SEARCHED_TURNS_PER_HOUR)
    small = replace(case, load=replace(case.load, turns_per_hour=case.load.turns_per_hour / times))
    (fastest,) = simulate([_without_waits(small)], SEARCHED_TURNS)
    found = None if fastest.p95_s > goal_s else _search(_cheapest(small), goal_s, simulate)
    if found is None:
        return Recommendation(goal_s, fastest.p95_s, None, None)
    whole = replace(_multiplied(found, times), load=case.load)
    (outcome,) = simulate([whole], TURNS)
    return Recommendation(goal_s, fastest.p95_s, whole, outcome)


def meets(outcome: Outcome, goal_s: float) -> bool:
    """Whether it does, and answers all but a few turns."""
    return outcome.p95_s <= goal_s and outcome.failed_share <= FAILED_SHARE


def _search(case: Case, goal_s: float, simulate: Simulate) -> Case | None:
    """First what costs least; then, step by step, more of what the slowest turns wait for; then less of
    whatever turns out not to be needed."""
    (now,) = simulate([case], SEARCHED_TURNS)
    for _ in range(MOST_STEPS):
        if meets(now, goal_s):
            return _trimmed(case, now, goal_s, simulate)
        app = app_of(case.deployment, max(now.waited_s, key=lambda stage: now.waited_s[stage]))
        steps = list(_more(case, app))
        outcomes = simulate(steps, SEARCHED_TURNS)
        best = min(range(len(steps)), key=lambda index: _rank(now, outcomes[index], goal_s))
        case, now = steps[best], outcomes[best]
    return None


def _rank(before: Outcome, after: Outcome, goal_s: float) -> tuple[bool, float]:
    """Those that meet the goal first, by their cost; else by the seconds above it that a dollar saves."""
    if meets(after, goal_s):
        return False, after.dollars_per_hour
    saved_s = before.above_s(goal_s) - after.above_s(goal_s)
    return True, -saved_s / max(1e-6, after.dollars_per_hour - before.dollars_per_hour + 0.001)


def _trimmed(case: Case, now: Outcome, goal_s: float, simulate: Simulate) -> Case:
    while True:
        steps = [step for app in case.deployment.apps for step in _less(case, app.app)]
        outcomes = simulate(steps, SEARCHED_TURNS)
        better = [
            (outcome.dollars_per_hour, index)
            for index, outcome in enumerate(outcomes)
            if meets(outcome, goal_s) and outcome.dollars_per_hour < now.dollars_per_hour
        ]
        if not better:
            return case
        index = min(better)[1]
        case, now = steps[index], outcomes[index]


def _more(case: Case, app: App) -> Iterator[Case]:
    scaling = _app(case, app).scaling
    yield _with(case, app, "min_containers", _up(scaling.min_containers))
    yield _with(case, app, "buffer_containers", _up(scaling.buffer_containers))
    if scaling.calls_at_once > 1 and app is not App.ORCHESTRATOR:
        yield _with(case, app, "calls_at_once", scaling.calls_at_once // 2)


def _less(case: Case, app: App) -> Iterator[Case]:
    scaling = _app(case, app).scaling
    if scaling.min_containers:
        yield _with(case, app, "min_containers", _down(scaling.min_containers))
    if scaling.buffer_containers:
        yield _with(case, app, "buffer_containers", _down(scaling.buffer_containers))


def _up(number: int) -> int:
    return max(number + 1, math.ceil(number * 1.5))


def _down(number: int) -> int:
    return min(number - 1, math.floor(number / 1.5))


def _cheapest(case: Case) -> Case:
    for app in case.deployment.apps:
        case = _with(_with(case, app.app, "min_containers", 0), app.app, "buffer_containers", 0)
    return case


def _without_waits(case: Case) -> Case:
    """One call a container, and always containers for all of them."""
    for app in case.deployment.apps:
        if app.app is not App.ORCHESTRATOR:
            case = _with(case, app.app, "calls_at_once", 1)
        needed = containers_needed(_app(case, app.app), case.load, 2 * case.day.peak)
        case = _with(case, app.app, "min_containers", needed)
    return case


def _multiplied(case: Case, times: float) -> Case:
    for app in case.deployment.apps:
        minimum, buffer = app.scaling.min_containers, app.scaling.buffer_containers
        case = _with(case, app.app, "min_containers", math.ceil(minimum * times))
        case = _with(case, app.app, "buffer_containers", math.ceil(buffer * times))
    return case


def _app(case: Case, app: App) -> PricedApp:
    return next(one for one in case.deployment.apps if one.app is app)


def _with(case: Case, app: App, knob: Knob, number: int) -> Case:
    apps = tuple(
        replace(one, scaling=replace(one.scaling, **{knob: number})) if one.app is app else one
        for one in case.deployment.apps
    )
    return replace(case, deployment=replace(case.deployment, apps=apps))
