"""What happens on the local cloud: events, and waiting for a change."""

import asyncio
import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, field


class Kind(enum.StrEnum):
    """The kind of an event, in the word that a person is shown."""

    DEPLOYED = "deployed"
    RUNNING = "running"  # an app that ends with its client
    STOPPED = "stopped"
    STARTING = "starting"
    SNAPSHOT = "snapshot"
    READY = "ready"
    STOPPING = "stopping"
    PREEMPTED = "preempted"
    ENDED = "ended"
    CRASHED = "crashed"
    CALL = "call"
    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    RETRIED = "retried"
    OUTPUT = "|"
    UNKNOWN = "unknown"  # a request that the local cloud cannot answer
    ERROR = "error"  # of the local cloud itself


@dataclass(frozen=True)
class Event:
    """One event; `app` is empty where no app is concerned, `at` is in seconds since the epoch."""

    kind: Kind
    app: str
    text: str
    at: float = field(default_factory=time.time)


class Signal:
    """Wakes the waiters of a condition whenever something may have changed it."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Let every waiter check again."""
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
