"""The troubles, made on the control plane."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

from grpclib import GRPCError

from client.targets import FOUR_APPS
from tests.deployed.chaos.plan import PlannedTurn
from tests.support.answering_deployment import MODELS, AnsweringProject

T = TypeVar("T")
_LASTS_S = 1.0


class TroubleMaker:
    """Makes a turn's trouble; `close` waits for what is still going on."""

    def __init__(self, project: AnsweringProject, settings: Mapping[str, str]) -> None:
        self._project = project
        self._plane = project.cloud.plane
        self._settings = settings
        self._going_on: set[asyncio.Task[None]] = set()
        self._deploying = asyncio.Lock()

    def make(self, turn: PlannedTurn) -> None:
        """Begin the trouble that comes before a turn."""
        task = asyncio.create_task(self._make(turn))
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)

    async def close(self) -> None:
        """Wait until the last trouble is over. Raises what went wrong with one."""
        await asyncio.gather(*self._going_on)

    async def _make(self, turn: PlannedTurn) -> None:
        match turn.trouble:
            case "kill" | "preempt":
                self._lose_container(turn)
            case "slow network":
                with self._plane.slow_network(0.05):
                    await asyncio.sleep(_LASTS_S)
            case "slow starts":
                with self._plane.slow_starts(1.0):
                    await asyncio.sleep(_LASTS_S)
            case "redeployment":
                async with self._deploying:
                    app = _chosen(FOUR_APPS, turn.dice)
                    await asyncio.to_thread(self._project.deploy, app, **MODELS, **self._settings)

    def _lose_container(self, turn: PlannedTurn) -> None:
        containers = self._plane.containers()
        if containers:
            container_id = _chosen(containers, turn.dice).id
            with contextlib.suppress(GRPCError):  # it has gone by itself
                (self._plane.kill if turn.trouble == "kill" else self._plane.preempt)(container_id)


def _chosen(choices: Sequence[T], dice: float) -> T:
    return choices[int(dice * len(choices))]
