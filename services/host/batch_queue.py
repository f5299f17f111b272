"""Batches for an engine's one thread, of the calls that wait for it."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.host.worker_thread import WorkerThread

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Ticket(Generic[Item, Result]):
    """A place in the queue. Cancelling `result` abandons it."""

    item: Item
    begun: asyncio.Future[None]
    result: asyncio.Future[Result]


class BatchQueue(Generic[Item, Result]):
    """Hands what waits to `work` on the thread, at most `largest` items at once.

    No batch is waited for: as soon as the thread is free it gets whatever waits. `work` returns an outcome
    for every item, in order; an Exception among them is that item's own.
    """

    def __init__(
        self,
        worker: WorkerThread,
        work: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        largest: int,
    ) -> None:
        self._worker = worker
        self._work = work
        self._largest = largest
        self._waiting: deque[Ticket[Item, Result]] = deque()
        self._draining: asyncio.Task[None] | None = None

    def put(self, item: Item) -> Ticket[Item, Result]:
        """Queue an item."""
        loop = asyncio.get_running_loop()
        ticket = Ticket[Item, Result](item, loop.create_future(), loop.create_future())
        self._waiting.append(ticket)
        if self._draining is None or self._draining.done():
            self._draining = loop.create_task(self._drain(), name="batches")
        return ticket

    async def join(self) -> None:
        """Wait until nothing waits."""
        if self._draining is not None:
            await self._draining

    async def _drain(self) -> None:
        while batch := self._next_batch():
            try:
                outcomes = await self._run(batch)
            except Exception as error:
                outcomes = [error] * len(batch)
            for ticket, outcome in zip(batch, outcomes, strict=True):
                _settle(ticket.result, outcome)

    async def _run(self, batch: Sequence[Ticket[Item, Result]]) -> Sequence[Result | Exception]:
        running = threading.Event()

        def check(_: asyncio.Future[Result]) -> None:
            if all(ticket.result.done() for ticket in batch):  # abandoned, as long as the job runs
                self._worker.watch_abandoned(running)

        for ticket in batch:
            ticket.begun.set_result(None)
            ticket.result.add_done_callback(check)
        running.set()
        try:
            return await self._worker.run(lambda: self._work([ticket.item for ticket in batch]))
        finally:
            running.clear()

    def _next_batch(self) -> list[Ticket[Item, Result]]:
        batch: list[Ticket[Item, Result]] = []
        while self._waiting and len(batch) < self._largest:
            ticket = self._waiting.popleft()
            if not ticket.result.done() and not ticket.begun.done():  # else it was abandoned
                batch.append(ticket)
        return batch


def _settle(result: asyncio.Future[Result], outcome: Result | Exception) -> None:
    if result.done():
        return
    if isinstance(outcome, Exception):
        result.set_exception(outcome)
    else:
        result.set_result(outcome)
