"""Waiting for something to have changed."""

import asyncio
from collections.abc import Callable


class Signal:
    """Wakes everyone who waits for a condition, whenever something may have changed it."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Let every waiter look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_until(self, condition: Callable[[], bool], within_s: float | None = None) -> bool:
        """Return True as soon as the condition holds, False if it does not within the time."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True
