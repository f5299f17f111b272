"""What a deployment would cost under a given load."""

from dataclasses import dataclass

from client.cost.containers import Arrivals, Containers, expected_containers
from client.cost.deployment import Deployment, PricedApp
from client.targets import SERVICES, App
from shared.errors import Stage


@dataclass(frozen=True)
class Load:
    """Turns, and how long they take. None of a stage's seconds a turn is unknown: then its slowest that keeps
    up with speech is taken, one second of work for each second heard or spoken."""

    turns_per_hour: float
    turns_per_conversation: int
    utterance_s: float
    reply_s: float
    """Of speech."""
    asr_s: float | None = None
    llm_s: float | None = None
    tts_s: float | None = None
    cold_start_s: float = 0.0

    def given_s(self, stage: Stage) -> float | None:
        """The seconds of a turn in which the stage works, if they are given."""
        given: float | None = getattr(self, f"{stage}_s")
        return given

    def busy_s(self, stage: Stage) -> float:
        """The same, or what is taken for it."""
        given = self.given_s(stage)
        if given is not None:
            return given
        return self.utterance_s if stage is Stage.ASR else self.reply_s

    @property
    def turn_s(self) -> float:
        """From the request to its end: LLM and TTS overlap."""
        return self.busy_s(Stage.ASR) + max(self.busy_s(Stage.LLM), self.busy_s(Stage.TTS))

    @property
    def cycle_s(self) -> float:
        """From a turn of a conversation to the next."""
        return max(self.utterance_s + self.reply_s, self.turn_s)

    @property
    def arrivals(self) -> Arrivals:
        """The turns as they come."""
        return Arrivals(self.turns_per_hour, self.turns_per_conversation, self.cycle_s)

    @property
    def conversation_s(self) -> float:
        """From its begin to its end."""
        return self.turns_per_conversation * self.cycle_s

    @property
    def conversations(self) -> Arrivals:
        """The conversations as they come, each taken as a whole: sessions of the gateway."""
        return Arrivals(self.turns_per_hour / self.turns_per_conversation)


@dataclass(frozen=True)
class AppCost:
    """Dollars for an hour of one app."""

    priced: PricedApp
    busy_s: float
    """How long a turn takes the place of a call; at the gateway, how long a conversation is connected."""
    held_s: float
    """How long it keeps a container from scaling down."""
    containers: Containers

    @property
    def per_hour(self) -> float:
        """In all."""
        return self.containers.alive * self.priced.container_s * 3600

    @property
    def idle_per_hour(self) -> float:
        """The part of it for containers that work on nothing."""
        idle = max(0.0, self.containers.alive - self.containers.working)  # it may be less by a rounding
        return idle * self.priced.container_s * 3600

    @property
    def at_rest_per_hour(self) -> float:
        """An hour without a turn."""
        return self.priced.scaling.min_containers * self.priced.container_s * 3600


@dataclass(frozen=True)
class DeploymentCost:
    """Dollars for the apps of a deployment together."""

    name: str
    apps: tuple[AppCost, ...]
    load: Load

    @property
    def per_hour(self) -> float:
        """In all."""
        return sum(app.per_hour for app in self.apps)

    @property
    def idle_per_hour(self) -> float:
        """The part of it for containers that work on nothing."""
        return sum(app.idle_per_hour for app in self.apps)

    @property
    def at_rest_per_hour(self) -> float:
        """An hour without a turn."""
        return sum(app.at_rest_per_hour for app in self.apps)

    @property
    def cold_starts_per_hour(self) -> float:
        """Of all apps."""
        return sum(app.containers.cold_starts_per_hour for app in self.apps)

    @property
    def per_turn(self) -> float | None:
        """Its share of the hour; None if there are more turns than the containers can work off."""
        if any(app.containers.saturated for app in self.apps):
            return None
        return self.per_hour / self.load.turns_per_hour

    @property
    def per_minute(self) -> float | None:
        """Of conversation: of so many turns, one after the other."""
        return None if self.per_turn is None else self.per_turn / self.load.cycle_s * 60


def estimated(deployment: Deployment, load: Load) -> DeploymentCost:
    """What the apps of a deployment cost under the load."""
    return DeploymentCost(deployment.name, tuple(_app_cost(app, load) for app in deployment.apps), load)


def _app_cost(priced: PricedApp, load: Load) -> AppCost:
    arrivals, held_s = load.arrivals, load.turn_s
    if priced.app is App.GATEWAY:
        arrivals, held_s = load.conversations, load.conversation_s
    whole = priced.app not in SERVICES
    busy_s = held_s if whole else load.busy_s(Stage(priced.app.value))
    containers = expected_containers(
        priced.scaling, arrivals, busy_s=busy_s, held_s=held_s, start_s=load.cold_start_s
    )
    return AppCost(priced, busy_s, held_s, containers)
