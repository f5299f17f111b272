"""A run: the deployment, the turns, some at once, the troubles, and what is left at the end."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import modal
import psutil

from local_cloud import DEFAULT_CACHE, ControlPlane
from tests.deployed.chaos.account import Account, Verdict
from tests.deployed.chaos.plan import PlannedTurn, plan
from tests.deployed.chaos.troubles import TroubleMaker
from tests.deployed.chaos.turns import play_planned
from tests.support.answering_deployment import AnsweringProject, answering_project
from tests.support.control_plane_programs import Cloud

AT_ONCE = 10
SETTINGS = {
    "S2S_MAX_ACTIVE_TURNS": "8",
    "S2S_ORCHESTRATOR_MAX_CONTAINERS": "1",
    "S2S_ASR_MAX_CONTAINERS": "2",
    "S2S_LLM_MAX_CONTAINERS": "2",
    "S2S_TTS_MAX_CONTAINERS": "2",
}
_SETTLED_WITHIN_S = 120.0
_PAUSE_WHEN_REFUSED_S = 1.0


def run(turns: int, seed: int, folder: Path, on_turn: Callable[[], None]) -> Account:
    """Run it in an empty folder; `on_turn` is told of each turn that has ended."""
    account = Account(turns, seed)
    cache = Path(os.environ.get("MODAL_CONTROL_PLANE_CACHE", DEFAULT_CACHE))
    began_s = time.monotonic()
    with ControlPlane(folder / "plane", cache) as plane:
        os.environ.update(plane.environ)
        project = answering_project(folder / "project", Cloud(plane))
        project.deploy_all(**SETTINGS)
        asyncio.run(_turns(project, account, on_turn))
        modal.Client.from_env().close()
    account.leaked_processes = len(_processes_of(folder))
    account.took_s = time.monotonic() - began_s
    return account


async def _turns(project: AnsweringProject, account: Account, on_turn: Callable[[], None]) -> None:
    troubles = TroubleMaker(project, SETTINGS)
    planned = iter(plan(account.turns, account.seed))

    async def ask() -> None:
        for turn in planned:
            _prepare(turn, project, troubles, account)
            verdict = await play_planned(turn, account)
            on_turn()
            if verdict is Verdict.OVERLOADED:
                await asyncio.sleep(_PAUSE_WHEN_REFUSED_S)

    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    await troubles.close()
    account.leaked_calls = await _calls_left(project)


def _prepare(turn: PlannedTurn, project: AnsweringProject, troubles: TroubleMaker, account: Account) -> None:
    if turn.order:
        account.troubles[f"engine told: {turn.order[1]}"] += 1
        project.points.order(turn.order[0], turn.number, turn.order[1])
    if turn.trouble:
        account.troubles[turn.trouble] += 1
        troubles.make(turn)


async def _calls_left(project: AnsweringProject) -> int:
    """How many calls go on although nobody waits for them."""
    give_up_s = time.monotonic() + _SETTLED_WITHIN_S
    while (left := sum(one.running_inputs for one in project.cloud.plane.containers())) > 0:
        if time.monotonic() > give_up_s:
            break
        await asyncio.sleep(0.1)
    return left


def _processes_of(folder: Path) -> list[psutil.Process]:
    """Processes that still have something of this run's folder in their environment."""
    left = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and str(folder) in process.environ().get("PYTHONPATH", ""):
                left.append(process)
        except psutil.Error:
            continue
    return left
