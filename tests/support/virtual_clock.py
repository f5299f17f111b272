"""An event loop whose clock jumps to the next timer, so that a long conversation plays at once."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_THREADS_END_WITHIN_S = 60.0


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """Waits only for threads that work for the loop: what else it wanted to wait is added to its clock."""

    clock_s = 0.0
    threads_at_work = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            ready = super().select(_THREADS_END_WITHIN_S)
            if not ready:
                raise RuntimeError("Every task waits for something that nobody will do.")
        elif not ready and timeout and self.threads_at_work:
            ready = super().select()
        elif not ready and timeout:
            self.clock_s += max(0.0, timeout)
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Its `time()` starts at 0 and moves only when nothing is left to do at that time, in threads either."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.clock_s

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        work = super().run_in_executor(executor, func, *args)
        self._jumping.threads_at_work += 1
        work.add_done_callback(self._has_worked)
        return work

    def _has_worked(self, _: object) -> None:
        self._jumping.threads_at_work -= 1


def play(story: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual clock, and see that it leaves no task behind."""

    async def whole_story() -> T:
        result = await story
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"
        return result

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(whole_story())


def always() -> None:
    """From now on everything in this process runs on a virtual clock."""

    def run(main: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            return runner.run(main)

    asyncio.run = run  # type: ignore[assignment]
