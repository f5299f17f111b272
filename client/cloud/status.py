"""`s2s status`: what is deployed, what runs, and how the turns of the last hour went."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import modal
import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.cloud.logs import logs_of_last_hour
from client.cloud.modal_connection import app_function, run_on_modal
from client.display.terminal import plain_table, print_json, printable
from client.errors import ExitCode
from client.targets import FOUR_APPS, SERVICES, App
from orchestrator.modal_stages import ModalStages
from orchestrator.turn_log import TURN
from shared.deployment import GATEWAY_SERVER, Health
from shared.errors import Stage, StageFailed
from shared.logs import read_fields
from shared.settings import settings
from shared.turn import Failure

MAX_ERRORS = 5
_HEALTH_TIMEOUT_S = 10.0


@dataclass
class AppStatus:
    """One app: whether it is deployed, its containers, and the engine that one of them reports."""

    app: App
    deployed: bool
    containers: int
    model: str = ""
    device: str = ""
    problem: str = ""


@dataclass(frozen=True)
class TurnError:
    """A turn that failed."""

    at: datetime
    stage: str
    kind: str
    message: str


@dataclass
class LastHour:
    """The turns of an hour, from the orchestrator's log."""

    outcomes: Counter[str] = field(default_factory=Counter)
    speculative_cancelled: int = 0
    """Speculative turns that the client cancelled: nearly always because the speaker went on, which is how
    speculation works. They are no outcome and no sample of anything."""
    failures_by_stage: Counter[str] = field(default_factory=Counter)
    cold_starts_by_stage: Counter[str] = field(default_factory=Counter)
    first_audio_ms: list[float] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    """By stage, those of the last turn that names one."""
    errors: list[TurnError] = field(default_factory=list)
    """The last ones, newest first."""

    @classmethod
    def of(cls, lines: Iterable[tuple[datetime, str]]) -> "LastHour":
        """Sum up the turns' lines among log lines, oldest first; others are skipped."""
        hour = cls()
        for at, line in lines:
            turn = read_fields(line, TURN)
            if turn and "outcome" in turn:
                hour._add(at, {name: value for name, value in turn.items() if value is not None})
        hour.errors = hour.errors[::-1][:MAX_ERRORS]
        return hour

    def first_audio_percentile_ms(self, percent: float) -> float | None:
        """The time to first audio that so many percent of the turns did not exceed."""
        return float(np.percentile(self.first_audio_ms, percent)) if self.first_audio_ms else None

    def _add(self, at: datetime, turn: dict[str, object]) -> None:
        if turn.get("speculative") and turn["outcome"] == "cancelled":
            self.speculative_cancelled += 1
            return
        self.outcomes[str(turn["outcome"])] += 1
        if "first_audio_ms" in turn:
            self.first_audio_ms.append(float(str(turn["first_audio_ms"])))
        if "cold" in turn:
            self.cold_starts_by_stage.update(str(turn["cold"]).split(","))
        self.models |= {stage: str(turn[stage]) for stage in ("asr", "llm", "tts") if turn.get(stage)}
        if "error" in turn:
            stage, kind, message = (
                str(turn.get(name, "")) for name in ("error_stage", "error", "error_message")
            )
            self.failures_by_stage[stage] += 1
            self.errors.append(TurnError(at, stage, kind, message))


def status_command(*, as_json: bool) -> None:
    """Run the command; see `s2s status --help`. It succeeds if the four apps or the monolith are deployed."""
    with Console(stderr=True).status("Asking Modal …"):
        apps, hour = run_on_modal(_gathered)
    if as_json:
        print_json(status_as_json(apps, hour))
    else:
        print_status(apps, hour, Console())
    deployed = {app.app for app in apps if app.deployed}
    if not deployed >= set(FOUR_APPS) and App.MONOLITH not in deployed:
        raise typer.Exit(ExitCode.MISCONFIGURED)


async def _gathered() -> tuple[list[AppStatus], LastHour]:
    *four, monolith, gateway = apps = list(await asyncio.gather(*map(_app_status, App)))
    playing = [one.app for one in (four[-1], monolith, gateway) if one.deployed]
    hour = LastHour.of((at, line) for at, _, line in await logs_of_last_hour(playing))
    for app in four:
        if app.deployed:
            app.model = app.model or hour.models.get(app.app, "")
    if not any(app.deployed for app in four):
        monolith.model = ", ".join(hour.models.values())
    return [app for app in apps if app.deployed or app in four], hour


async def _app_status(app: App) -> AppStatus:
    if app is App.GATEWAY:
        method: Any = modal.Function.from_name(app.modal_name, GATEWAY_SERVER)
    else:  # all methods share the containers
        method = app_function(app, "health" if app in SERVICES else "warm")
    try:
        stats = await method.get_current_stats.aio()
    except modal.exception.NotFoundError:
        return AppStatus(app, deployed=False, containers=0)
    status = AppStatus(app, deployed=True, containers=stats.num_total_runners)
    if status.containers and app in SERVICES:  # asked only where that starts no container
        match await _health(Stage(app.value)):
            case Health(model=model, device=device):
                status.model, status.device = model, device
            case Failure(message=message):
                status.problem = message
    return status


async def _health(stage: Stage) -> Health | Failure:
    try:
        async with asyncio.timeout(_HEALTH_TIMEOUT_S):
            return await ModalStages(settings()).health(stage)
    except TimeoutError:
        return Failure.of(StageFailed(f"gives no answer within {_HEALTH_TIMEOUT_S:g} s", stage))


def status_as_json(apps: Sequence[AppStatus], hour: LastHour) -> dict[str, object]:
    """What `s2s status --json` prints."""
    last_hour = vars(hour) | {
        "turns": hour.outcomes.total(),
        "first_audio_p50_ms": hour.first_audio_percentile_ms(50),
        "first_audio_p95_ms": hour.first_audio_percentile_ms(95),
    }
    del last_hour["first_audio_ms"]
    return {"apps": [asdict(app) | {"app": app.app.modal_name} for app in apps], "last_hour": last_hour}


def print_status(apps: Sequence[AppStatus], hour: LastHour, console: Console) -> None:
    """What `s2s status` prints."""
    console.print(_table(apps))
    console.print(_summary(hour))
    for error in hour.errors:
        line = f"{error.at:%H:%M:%S} {error.stage} {error.kind}: {error.message}"
        console.print(Text(" ".join(printable(line).split()), "red"))


def _table(apps: Sequence[AppStatus]) -> Table:
    table = plain_table("app", "deployed", "containers", folded=("model", "device"))
    for app in apps:
        table.add_row(
            app.app.modal_name,
            Text("yes", "green") if app.deployed else Text("no", "red"),
            str(app.containers),
            Text(printable(app.problem), "red") if app.problem else Text(app.model or "-"),
            app.device or "-",
        )
    return table


def _summary(hour: LastHour) -> str:
    turns = hour.outcomes.total()
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in hour.outcomes.most_common())
    lines = [
        f"Last hour: {turns:,} turn{'' if turns == 1 else 's'}: {outcomes}."
        if turns
        else "Last hour: no turns."
    ]
    p50_ms, p95_ms = hour.first_audio_percentile_ms(50), hour.first_audio_percentile_ms(95)
    if p50_ms is not None and p95_ms is not None:
        lines.append(f"Time to first audio: p50 {p50_ms:,.0f} ms, p95 {p95_ms:,.0f} ms.")
    if hour.speculative_cancelled:
        lines.append(f"Cancelled speculative turns: {hour.speculative_cancelled:,}.")
    for what, counts in (("Failures", hour.failures_by_stage), ("Cold starts", hour.cold_starts_by_stage)):
        if counts:
            lines.append(f"{what}: " + ", ".join(f"{stage} {count}" for stage, count in counts.items()) + ".")
    return "\n".join(lines)
