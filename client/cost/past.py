"""What turns did cost: how long they kept containers alive, from a metrics file or the orchestrator's log."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from client.cost.containers import Scaling
from client.cost.deployment import Deployment, PricedApp
from client.metrics.metrics_file import ConversationEnded, ConversationStarted, MetricsLine
from client.targets import App
from conversation.turn_record import TurnRecord
from orchestrator.turn_log import TURN
from shared.deployment import SERVICES
from shared.errors import Stage
from shared.logs import read_fields

MAX_LOGGED_S = 1e6
"""A duration above this in a log is no turn's."""


@dataclass(frozen=True)
class PastTurn:
    """One turn that ran. `began_s` is a time of day, or of any other clock."""

    began_s: float
    lasted_s: float
    busy_s: Mapping[Stage, float]
    """By stage: how long it worked, by its own clock."""
    models: Mapping[Stage, str]
    """By the names that people use."""


@dataclass(frozen=True)
class Past:
    """Turns, and the time in which they ran."""

    turns: tuple[PastTurn, ...]
    from_s: float
    until_s: float
    conversation_s: float
    """How long people and the assistant talked."""


@dataclass(frozen=True)
class PastAppCost:
    """What an app did cost, and for what."""

    priced: PricedApp
    alive_s: float
    """Seconds of containers."""
    busy_s: float
    """Seconds of work in them. Calls that overlap in a container count each."""

    @property
    def dollars(self) -> float:
        """In all."""
        return self.alive_s * self.priced.container_s


@dataclass(frozen=True)
class PastCost:
    """What the turns of a deployment did cost."""

    name: str
    past: Past
    apps: tuple[PastAppCost, ...]

    @property
    def dollars(self) -> float:
        """In all."""
        return sum(app.dollars for app in self.apps)

    @property
    def per_turn(self) -> float | None:
        """None without turns."""
        return self.dollars / len(self.past.turns) if self.past.turns else None

    @property
    def per_minute(self) -> float | None:
        """Of conversation; None if there was none."""
        return self.dollars / self.past.conversation_s * 60 if self.past.conversation_s else None


def past_of_metrics(lines: Iterable[MetricsLine]) -> Past:
    """The turns of conversations. A turn is taken to begin when the person began to speak: all of them too
    early by about as much, which does not change how long containers live. A session whose beginning is
    missing is left out."""
    began = {}
    turns: list[PastTurn] = []
    talked_s: dict[str, float] = {}
    for line in lines:
        match line:
            case ConversationStarted(session_id=session, at=at):
                began[session] = at.timestamp()
            case TurnRecord(session_id=session) if session in began:
                turns.append(_recorded(line, began[session]))
                talked_s[session] = max(talked_s.get(session, 0.0), line.ended_us / 1e6)
            case ConversationEnded(session_id=session, duration_us=duration_us) if session in began:
                talked_s[session] = duration_us / 1e6
    from_s = min((turn.began_s for turn in turns), default=0.0)
    return Past(tuple(turns), from_s, float("inf"), sum(talked_s.values()))


def past_of_log(lines: Iterable[tuple[datetime, str]], until: datetime, hours: float = 1.0) -> Past:
    """The turns among log lines of the last hour, each with its time. Containers that older turns left alive
    are not known, and not counted."""
    turns: list[PastTurn] = []
    talked_s = 0.0
    for at, line in lines:
        fields = read_fields(line, TURN)
        if not fields or "outcome" not in fields:
            continue
        lasted_s = _number(fields, "total_ms") / 1000
        busy_s = {stage: _number(fields, f"{stage}_busy_ms") / 1000 for stage in SERVICES}
        models = {stage: str(fields.get(stage) or "") for stage in SERVICES}
        turns.append(PastTurn(at.timestamp() - lasted_s, lasted_s, busy_s, models))
        talked_s += _number(fields, "audio_s") + _number(fields, "speech_s")
    from_s = (until - timedelta(hours=hours)).timestamp()
    return Past(tuple(turns), from_s, until.timestamp(), talked_s)


def cost_of(past: Past, deployment: Deployment) -> PastCost:
    """What the turns cost in a deployment, had all of them been its own, and no others."""
    return PastCost(deployment.name, past, tuple(_app_cost(past, app) for app in deployment.apps))


def alive_s(past: Past, busy_s: Sequence[float], scaling: Scaling) -> float:
    """The seconds of containers that the turns took, each of which takes a place for so many seconds: a turn
    goes to the first container that has a place, and keeps it alive until its end and for the scaledown
    window after that."""
    containers: list[_Container] = []
    at_most = max(scaling.max_containers, scaling.min_containers)
    for turn, place_s in sorted(zip(past.turns, busy_s, strict=True), key=lambda one: one[0].began_s):
        place = next((one for one in containers if one.has_place(turn.began_s, scaling)), None)
        if place is None and len(containers) < at_most:
            containers.append(place := _Container())
        place = place or min(containers, key=_Container.next_place_s)
        place.take(turn, place_s, scaling, past.until_s)
    until_s = past.until_s
    if until_s == float("inf"):
        until_s = max((container.until_s for container in containers), default=past.from_s)
    always, others = scaling.min_containers, containers[scaling.min_containers :]
    return always * (until_s - past.from_s) + sum(container.alive_s for container in others)


class _Container:
    def __init__(self) -> None:
        self.alive_s = 0.0
        self.until_s = float("-inf")
        self._ends_s: list[float] = []

    def has_place(self, now_s: float, scaling: Scaling) -> bool:
        self._ends_s = [end_s for end_s in self._ends_s if end_s > now_s]
        return len(self._ends_s) < scaling.calls_at_once

    def next_place_s(self) -> float:
        return min(self._ends_s)

    def take(self, turn: PastTurn, place_s: float, scaling: Scaling, at_most_until_s: float) -> None:
        begin_s = turn.began_s
        if len(self._ends_s) >= scaling.calls_at_once:  # it waits for a place
            begin_s = self.next_place_s()
            self._ends_s.remove(begin_s)
        self._ends_s.append(begin_s + place_s)
        until_s = min(begin_s + turn.lasted_s + scaling.window_s, at_most_until_s)
        self.alive_s += max(0.0, until_s - max(turn.began_s, self.until_s))
        self.until_s = max(self.until_s, until_s)


def other_models(past: Past, deployment: Deployment) -> set[str]:
    """Models of the turns that are not the selected ones."""
    selected = {model.engine().model_name for model in deployment.models}
    return {name for turn in past.turns for name in turn.models.values() if name} - selected


def _app_cost(past: Past, priced: PricedApp) -> PastAppCost:
    busy_s = [_busy_s(turn, priced.app) for turn in past.turns]
    return PastAppCost(priced, alive_s(past, busy_s, priced.scaling), sum(busy_s))


def _busy_s(turn: PastTurn, app: App) -> float:
    return turn.busy_s.get(Stage(app.value), 0.0) if app.value in SERVICES else turn.lasted_s


def _recorded(record: TurnRecord, session_began_s: float) -> PastTurn:
    ledger = record.ledger
    lasted_us = ledger.total_us if ledger else record.ended_us - record.began_us
    busy_s = {busy.stage: busy.busy_us / 1e6 for busy in ledger.busy} if ledger else {}
    models = {Stage(stage): name for stage, name in record.models.model_dump().items()}
    return PastTurn(session_began_s + record.began_us / 1e6, lasted_us / 1e6, busy_s, models)


def _number(fields: Mapping[str, object], name: str) -> float:
    """A duration of a log line, which anybody may have written."""
    value = fields.get(name)
    return float(value) if isinstance(value, int | float) and 0 <= value <= MAX_LOGGED_S else 0.0
