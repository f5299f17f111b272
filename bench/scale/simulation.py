"""A deployment under a load, simulated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import simpy

from bench.scale.apps import FourApps, MonolithApp, Times
from bench.scale.assumptions import SPREAD
from bench.scale.day import Day, Part, arrivals, parts_of_day
from bench.scale.pool import Usage
from bench.scale.turn import STAGES, Played, Steps, Turn, Workload
from client.cost.deployment import Deployment, PricedApp
from client.cost.estimate import Load
from client.targets import App
from shared.errors import Stage
from shared.settings import Settings

Seconds = npt.NDArray[np.float64]

TURNS = 20_000
"""Measured in a simulation, about; more where the warm-ups of a day's samples have more."""

SETTLING_S = 60.0
"""Of a warm-up, beside a scaledown window and a cold start."""

SHORTEST_S = 0.1
"""Of an utterance and of a reply."""

SURE = 3.0
"""Standard deviations above the mean: so much work under way has its containers at the beginning."""


@dataclass(frozen=True)
class Case:
    """What is simulated."""

    deployment: Deployment
    load: Load
    times: Times
    day: Day
    settings: Settings
    seed: int = 1


@dataclass(frozen=True)
class AppUsage:
    """The containers of one app, averaged over the day."""

    app: App
    containers: float
    most: int
    cold_starts_per_hour: float
    gpu_hours_per_hour: float
    dollars_per_hour: float


@dataclass(frozen=True)
class Outcome:
    """What a simulation came to."""

    deployment: str
    turns_per_hour: float
    turns: int
    """Measured."""
    measured_s: float
    p50_s: float
    """Voice-to-voice, as the next."""
    p95_s: float
    voice_to_voice_s: Seconds
    """Of each turn that was answered."""
    cold_share: float
    """Of the turns: a call of them waited for a container that started."""
    failed_share: float
    """Of the turns: refused, or not answered within the time-out of a stage's start."""
    waited_s: dict[Stage, float]
    """On the way to the first audio, by stage, on average of the slowest twentieth of the turns."""
    apps: tuple[AppUsage, ...]

    @property
    def dollars_per_hour(self) -> float:
        """Of all apps."""
        return sum(app.dollars_per_hour for app in self.apps)

    @property
    def gpu_hours_per_hour(self) -> float:
        """Of all apps."""
        return sum(app.gpu_hours_per_hour for app in self.apps)

    def above_s(self, goal_s: float) -> float:
        """How far turns are above a goal of voice-to-voice, on average of all."""
        return float(np.maximum(0.0, self.voice_to_voice_s - goal_s).mean()) if self.turns else 0.0

    @property
    def dollars_per_turn(self) -> float:
        """On average of the day."""
        return self.dollars_per_hour / self.turns_per_hour


@dataclass(frozen=True)
class Task:
    """A stretch of a case's day; tasks are independent of each other."""

    case: Case
    part: Part
    seed: np.random.SeedSequence


@dataclass(frozen=True)
class Measured:
    """What a task came to."""

    turns: tuple[Played, ...]
    usage: dict[App, Usage]


def tasks(case: Case, turns: int = TURNS) -> list[Task]:
    """What is to be played of the load: whole days, or samples of one."""
    window_s = max(app.scaling.window_s for app in case.deployment.apps)
    start_s = max(case.times.start_s(app.app) for app in case.deployment.apps)
    parts = parts_of_day(case.day, case.load.turns_per_hour, window_s + 2 * start_s + SETTLING_S, turns)
    seeds = np.random.SeedSequence(case.seed).spawn(len(parts))
    return [Task(case, part, seed) for part, seed in zip(parts, seeds, strict=True)]


def simulate(case: Case, turns: int = TURNS) -> Outcome:
    """Play the load on the deployment. The same for the same seed."""
    planned = tasks(case, turns)
    return outcome(planned, [play(task) for task in planned])


def app_of(deployment: Deployment, stage: Stage) -> App:
    """The app of the deployment in which the stage is."""
    apps = [priced.app for priced in deployment.apps]
    return App.MONOLITH if App.MONOLITH in apps else App(stage.value)


def raised(case: Case, most: int = 100_000) -> Case:
    """The same without a bound on containers that the load could reach."""
    apps = tuple(
        replace(app, scaling=replace(app.scaling, max_containers=max(most, app.scaling.max_containers)))
        for app in case.deployment.apps
    )
    return replace(case, deployment=replace(case.deployment, apps=apps))


def busy_s(app: App, load: Load) -> float:
    """How long a turn keeps a place of the app, on average."""
    return load.turn_s if app in (App.ORCHESTRATOR, App.MONOLITH) else load.busy_s(Stage(app.value))


def containers_needed(app: PricedApp, load: Load, factor: float) -> int:
    """As many as have places for the work under way at so many times the mean load, and its variation."""
    mean = load.turns_per_hour / 3600 * factor * busy_s(app.app, load)
    return math.ceil((mean + SURE * math.sqrt(mean)) / app.scaling.calls_at_once)


def play(task: Task) -> Measured:
    """Play a stretch of a day."""
    return _Play(task).measured()


class _Play:
    def __init__(self, task: Task) -> None:
        self._case, self._part = task.case, task.part
        self._chance = np.random.default_rng(task.seed)
        self._env = env = simpy.Environment(self._part.begin_s)
        case, factor = self._case, self._case.day.factor(self._part.begin_s)
        warm = {app.app: containers_needed(app, case.load, factor) for app in case.deployment.apps}
        design = MonolithApp if App.MONOLITH in warm else FourApps
        self._apps = design(env, case.deployment, case.settings, case.times, warm)
        self._turns: list[Played] = []
        self._under_way = 0

    def measured(self) -> Measured:
        """Play it all."""
        env, part, pools = self._env, self._part, self._apps.pools
        patience_s = self._case.settings.stage_start_timeout_s
        env.process(self._coming(part.end_s + patience_s))
        env.run(part.begin_s + part.warm_up_s)
        for pool in pools.values():
            pool.measure()
        env.run(part.end_s)
        usage = {app: pool.usage() for app, pool in pools.items()}
        while self._under_way and env.now < part.end_s + patience_s:
            env.run(env.now + 1.0)
        return Measured(tuple(self._turns), usage)

    def _coming(self, until_s: float) -> Steps:
        case = self._case
        per_s = case.load.turns_per_hour / 3600 / case.load.turns_per_conversation
        for at_s in arrivals(self._chance, case.day, per_s, self._part.begin_s, until_s):
            yield self._env.timeout(at_s - self._env.now)
            self._env.process(self._conversation())

    def _conversation(self) -> Steps:
        load, part, env = self._case.load, self._part, self._env
        utterances_s, replies_s = self._lengths(load.utterance_s), self._lengths(load.reply_s)
        for number, reply_s in enumerate(replies_s):
            played, asked_s = Played(), env.now
            is_measured = part.end_s - part.measured_s <= asked_s < part.end_s
            if is_measured:
                self._turns.append(played)
            self._under_way += is_measured
            work = _workload(load, utterances_s[number], reply_s)
            yield from Turn(env, self._apps, work, played, self._case.settings.max_chunk_growth).run()
            self._under_way -= is_measured
            if number + 1 < len(replies_s):
                answered_s = asked_s + (played.first_audio_s or 0.0)
                yield env.timeout(max(0.0, answered_s + reply_s + utterances_s[number + 1] - env.now))

    def _lengths(self, mean_s: float) -> list[float]:
        shape = SPREAD**-2
        drawn = self._chance.gamma(shape, mean_s / shape, self._case.load.turns_per_conversation)
        return [max(SHORTEST_S, float(one)) for one in drawn]


def _workload(load: Load, utterance_s: float, reply_s: float) -> Workload:
    heard, spoken = utterance_s / load.utterance_s, reply_s / load.reply_s
    return Workload(
        reply_s=reply_s,
        asr_s=load.busy_s(Stage.ASR) * heard,
        llm_s=load.busy_s(Stage.LLM) * spoken,
        tts_s=load.busy_s(Stage.TTS) * spoken,
    )


def outcome(planned: Sequence[Task], measured: Sequence[Measured]) -> Outcome:
    """What the tasks of a case come to together."""
    case, settings = planned[0].case, planned[0].case.settings
    turns = [turn for one in measured for turn in one.turns]
    answered = [turn for turn in turns if turn.first_audio_s is not None]
    first_audio_s = np.array([turn.first_audio_s for turn in answered], float)
    voice_to_voice_s = np.maximum(
        settings.end_of_turn_silence_s, settings.speculation_after_s + first_audio_s
    )
    p50_s, p95_s = np.quantile(voice_to_voice_s, [0.5, 0.95]) if answered else (math.inf, math.inf)
    slow = [turn for turn, took_s in zip(answered, voice_to_voice_s, strict=True) if took_s >= p95_s]
    measured_s = sum(task.part.measured_s for task in planned)
    apps = case.deployment.apps
    return Outcome(
        case.deployment.name,
        case.load.turns_per_hour,
        turns=len(turns),
        measured_s=measured_s,
        p50_s=float(p50_s),
        p95_s=float(p95_s),
        voice_to_voice_s=voice_to_voice_s,
        cold_share=sum(turn.cold for turn in turns) / max(1, len(turns)),
        failed_share=1 - len(answered) / max(1, len(turns)),
        waited_s={stage: sum(turn.waited_s[stage] for turn in slow) / max(1, len(slow)) for stage in STAGES},
        apps=tuple(_app_usage(app, [one.usage[app.app] for one in measured], measured_s) for app in apps),
    )


def _app_usage(priced: PricedApp, usages: Sequence[Usage], measured_s: float) -> AppUsage:
    containers = sum(usage.alive for usage in usages) / len(usages)  # all parts are as long
    _, _, count = (priced.gpu or "").partition(":")
    gpus = int(count or 1) if priced.gpu else 0
    return AppUsage(
        priced.app,
        containers,
        most=max(usage.most for usage in usages),
        cold_starts_per_hour=sum(usage.starts for usage in usages) / measured_s * 3600,
        gpu_hours_per_hour=containers * gpus,
        dollars_per_hour=containers * priced.container_s * 3600,
    )
