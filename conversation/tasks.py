"""What a conversation has under way, and waits for before it ends."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """Tasks that end before the conversation does."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run it beside everything else."""
        task = asyncio.create_task(work)
        self.keep(task)
        return task

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Wait for it before the conversation ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancel what is still under way, and wait for it."""
        await asyncio.sleep(0)  # a task that never began would not end its turn
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
