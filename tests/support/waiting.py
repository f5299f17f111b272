"""Waiting for what other tasks, threads and processes bring about."""

import asyncio
import time
from collections.abc import Callable

GIVE_UP_S = 300.0
"""No test needs nearly as long: a machine may be slow, and busy with others' work."""
_LOOK_EVERY_S = 0.02


def until(condition: Callable[[], object], within_s: float = GIVE_UP_S) -> None:
    """Wait until the condition holds; fail if it does not within the time."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s"
        time.sleep(_LOOK_EVERY_S)


async def until_async(condition: Callable[[], object], within_s: float = GIVE_UP_S) -> None:
    """The same while the event loop goes on; the condition, which may block, runs in a thread."""
    deadline_s = time.monotonic() + within_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s"
        await asyncio.sleep(_LOOK_EVERY_S)
