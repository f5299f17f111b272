"""The two deployments in simulated time: four apps, or the monolith."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import simpy

from bench.scale.engines import Batches, Lanes
from bench.scale.pool import Container, Pool
from bench.scale.turn import Entering, Played
from client.cost.deployment import Deployment, PricedApp
from client.targets import App
from shared.deployment import SERVICES
from shared.engines import capacity
from shared.errors import Stage
from shared.settings import Settings

ONE_THREAD = 1
"""TTS engines work on one thread of their container, whatever its concurrent inputs."""


@dataclass(frozen=True)
class Times:
    """What calls and cold starts take, in seconds. See `bench.scale.assumptions`."""

    call_s: float
    engine_start_s: float
    boot_s: float

    def start_s(self, app: App) -> float:
        """A cold start of the app's container. The monolith loads its LLM first, then the others at once."""
        if app is App.ORCHESTRATOR:
            return self.boot_s
        return 2 * self.engine_start_s if app is App.MONOLITH else self.engine_start_s


class FourApps:
    """The orchestrator and three services."""

    def __init__(
        self, env: simpy.Environment, deployment: Deployment, settings: Settings, times: Times,
        warm: Mapping[App, int],
    ) -> None:  # fmt: skip
        self._env = env
        self._times = times
        self.pools = {
            priced.app: _pool(env, priced, settings, times, warm[priced.app]) for priced in deployment.apps
        }
        self._orchestrator = self.pools[App.ORCHESTRATOR]
        self._services = {stage: self.pools[App(stage.value)] for stage in SERVICES}

    def seat(self, played: Played) -> Entering:
        """A place in the orchestrator. One above its turns is refused, as Pipeline does."""
        yield self._env.timeout(self._times.call_s)
        seat = yield from _call(self._env, self._orchestrator, Stage.ORCHESTRATOR, played)
        if seat is not None and seat.running > self._orchestrator.target_inputs:
            self._orchestrator.end(seat)
            return None
        return seat

    def leave_seat(self, seat: Container) -> None:
        """End the turn."""
        self._orchestrator.end(seat)

    def wake(self) -> None:
        """Start a container of each service that has none: see `ModalStages`."""
        for pool in self._services.values():
            if not pool.live and pool.waking is None:
                pool.waking = self._env.process(self._health(pool))

    def enter(self, stage: Stage, seat: Container, played: Played) -> Entering:
        """A call of the stage's service."""
        pool, asked_s = self._services[stage], self._env.now
        if pool.waking is not None:
            yield pool.waking
            played.cold = True
            if played.first_audio_s is None:
                played.waited_s[stage] += self._env.now - asked_s
        yield self._env.timeout(self._times.call_s)
        return (yield from _call(self._env, pool, stage, played))

    def leave(self, stage: Stage, container: Container) -> None:
        """End the call."""
        self._services[stage].end(container)

    def _health(self, pool: Pool) -> Entering:
        container = pool.take() or (yield pool.wait())
        if container is not None:
            pool.end(container)
        pool.waking = None
        return container


class MonolithApp:
    """All of it in one container."""

    def __init__(
        self, env: simpy.Environment, deployment: Deployment, settings: Settings, times: Times,
        warm: Mapping[App, int],
    ) -> None:  # fmt: skip
        (priced,) = deployment.apps
        self._env = env
        self._times = times
        self._pool = _pool(env, priced, settings, times, warm[priced.app])
        self.pools = {priced.app: self._pool}

    def seat(self, played: Played) -> Entering:
        """A place in a container."""
        yield self._env.timeout(self._times.call_s)
        return (yield from _call(self._env, self._pool, Stage.ORCHESTRATOR, played))

    def leave_seat(self, seat: Container) -> None:
        """End the turn."""
        self._pool.end(seat)

    def wake(self) -> None:
        """All of it is awake."""

    def enter(self, stage: Stage, seat: Container, played: Played) -> Entering:
        """The engines are in the turn's container."""
        yield from ()
        return seat

    def leave(self, stage: Stage, container: Container) -> None:
        """It stays."""


def _call(env: simpy.Environment, pool: Pool, stage: Stage, played: Played) -> Entering:
    if (container := pool.take()) is not None:
        return container
    asked_s = env.now
    container = yield pool.wait()
    if container is not None and not container.served:
        played.cold = True
    if played.first_audio_s is None:
        played.waited_s[stage] += env.now - asked_s
    return container


def _pool(env: simpy.Environment, priced: PricedApp, settings: Settings, times: Times, warm: int) -> Pool:
    target = priced.scaling.calls_at_once
    return Pool(
        env,
        priced.scaling,
        max_inputs=2 * target if priced.app is App.ORCHESTRATOR else target + 1,  # as the apps have it
        start_s=times.start_s(priced.app),
        engines=partial(_engines, env, priced, settings),
        warm=warm,
    )


def _engines(env: simpy.Environment, priced: PricedApp, settings: Settings) -> dict[Stage, Batches | Lanes]:
    """A service's works on as many calls as its containers are for; the monolith's as the settings say."""
    engines: dict[Stage, Batches | Lanes] = {}
    for model in priced.models:
        at_once = priced.scaling.calls_at_once
        if priced.app is App.MONOLITH:
            at_once = capacity(model.stage, model.spec, settings)
        if model.stage is Stage.ASR:
            engines[model.stage] = Batches(env, at_once)
        else:
            engines[model.stage] = Lanes(env, ONE_THREAD if model.stage is Stage.TTS else at_once)
    return engines
