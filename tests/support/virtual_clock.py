"""An event loop whose clock jumps to the next timer, so that a long conversation plays at once."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """Never waits: what the loop wanted to wait is added to its clock instead."""

    clock_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("Every task waits for something that nobody will do.")
            self.clock_s += max(0.0, timeout)
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Its `time()` starts at 0 and moves only when nothing is left to do at that time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.clock_s


def play(story: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual clock, and see that it leaves no task behind."""

    async def whole_story() -> T:
        result = await story
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"
        return result

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(whole_story())
