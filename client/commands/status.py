"""`s2s status`: what is deployed and runs, and how the turns of the last hour went."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.cloud.last_hour import LastHour, summed
from client.cloud.modal_connection import connected, is_deployed, modal_library
from client.errors import ExitCode, reported_errors
from orchestrator.modal_stages import ModalStages
from shared.deployment import APPS, MONOLITH_APP, SERVICES, Health
from shared.errors import Stage, StageFailed
from shared.settings import settings
from shared.turn import Failure

_HEALTH_TIMEOUT_S = 10.0


@dataclass
class AppStatus:
    """One app: whether it is deployed, its containers, and what one of them says of itself."""

    app: str
    deployed: bool
    containers: int
    since: datetime | None
    """When the oldest container started."""
    model: str = ""
    device: str = ""
    problem: str = ""


def status_command(*, as_json: bool) -> None:
    """Run the command; see `s2s status --help`. Its exit code says whether all four are deployed, or the
    monolith."""
    with reported_errors(as_json=as_json):
        with Console(stderr=True).status("Asking Modal …"):
            apps, hour = asyncio.run(_gathered())
        if as_json:
            typer.echo(json.dumps(_as_json(apps, hour), indent=2, default=str))
        else:
            _show(apps, hour, Console())
        deployed = {app.app for app in apps if app.deployed}
        if not deployed >= set(APPS.values()) and MONOLITH_APP not in deployed:
            raise typer.Exit(ExitCode.MISCONFIGURED)


async def _gathered() -> tuple[list[AppStatus], LastHour]:
    await connected()
    running = await _containers()
    apps = list(
        await asyncio.gather(
            *(_app_status(APPS[stage], stage, running) for stage in APPS),
            _app_status(MONOLITH_APP, None, running),
        )
    )
    playing = (APPS[Stage.ORCHESTRATOR], MONOLITH_APP)
    hour = await _last_hour([app.app for app in apps if app.deployed and app.app in playing])
    *stages, monolith = apps
    for stage, app in zip(APPS, stages, strict=True):
        if app.deployed:
            app.model = app.model or hour.models.get(stage, "")
    if not any(app.deployed for app in stages):
        monolith.model = ", ".join(hour.models.values())
    return [app for app in apps if app.deployed or app.app != MONOLITH_APP], hour


async def _containers() -> dict[str, list[datetime]]:
    """When the containers of each app started."""
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "modal", "container", "list", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    listed, said = await command.communicate()
    if command.returncode:
        raise StageFailed(f"Modal does not list containers: {said.decode().strip()}")
    running: dict[str, list[datetime]] = {}
    for row in json.loads(listed):
        if row["start_time"] != "Pending":
            running.setdefault(row["app_name"], []).append(datetime.fromisoformat(row["start_time"]))
    return running


async def _app_status(app: str, stage: Stage | None, running: dict[str, list[datetime]]) -> AppStatus:
    started = running.get(app, [])
    status = AppStatus(app, await is_deployed(app), len(started), min(started, default=None))
    if started and stage in SERVICES:  # asked only where that starts no container
        match await _health(stage):
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


async def _last_hour(apps: Sequence[str]) -> LastHour:
    """The turns of the apps that play turns."""
    since = datetime.now(UTC) - timedelta(hours=1)
    lines = []
    for name in apps:
        app = await modal_library().App.lookup.aio(name)
        async for entry in app.logs.fetch.aio(since=since):
            lines += [(entry.timestamp, line) for line in entry.message.splitlines()]
    return summed(sorted(lines, key=lambda line: line[0]))


def _as_json(apps: list[AppStatus], hour: LastHour) -> dict[str, object]:
    return {
        "apps": [asdict(app) for app in apps],
        "last_hour": {
            "turns": hour.turns,
            "outcomes": dict(hour.outcomes),
            "failures_by_stage": dict(hour.failures),
            "cold_starts_by_stage": dict(hour.cold_starts),
            "first_audio_p50_ms": hour.first_audio_p50_ms,
            "first_audio_p95_ms": hour.first_audio_p95_ms,
            "errors": [asdict(error) for error in hour.errors],
        },
    }


def _show(apps: list[AppStatus], hour: LastHour, console: Console) -> None:
    console.print(_table(apps))
    console.print(_told(hour))
    for error in hour.errors:
        console.print(Text(f"{error.at:%H:%M:%S} {error.stage} {error.kind}: {error.message}", "red"))


def _table(apps: list[AppStatus]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("app", "deployed", "containers", "since"):
        table.add_column(heading, no_wrap=True)
    for heading in ("model", "device"):
        table.add_column(heading, overflow="fold")
    for app in apps:
        table.add_row(
            app.app,
            Text("yes", "green") if app.deployed else Text("no", "red"),
            str(app.containers),
            f"{app.since.astimezone():%H:%M:%S}" if app.since else "-",
            Text(app.problem, "red") if app.problem else Text(app.model or "-"),
            app.device or "-",
        )
    return table


def _told(hour: LastHour) -> str:
    if not hour.turns:
        return "Last hour: no turns."
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in hour.outcomes.most_common())
    lines = [f"Last hour: {hour.turns} turns: {outcomes}."]
    p50_ms, p95_ms = hour.first_audio_p50_ms, hour.first_audio_p95_ms
    if p50_ms is not None and p95_ms is not None:
        lines.append(f"Time to first audio: p50 {p50_ms:,.0f} ms, p95 {p95_ms:,.0f} ms.")
    for what, counts in (("Failures", hour.failures), ("Cold starts met", hour.cold_starts)):
        if counts:
            lines.append(f"{what}: " + ", ".join(f"{stage} {count}" for stage, count in counts.items()) + ".")
    return "\n".join(lines)
