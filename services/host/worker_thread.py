"""The one thread on which an engine works, and the streams that come out of it."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

T = TypeVar("T")


class WorkerThread:
    """Runs blocking work for an event loop, one job after another, on one thread.

    `on_stuck` is called if a job runs on for `stuck_after_s` after it was abandoned: nothing else can run on
    this thread then, and a thread cannot be ended.
    """

    def __init__(
        self, name: str, *, on_stuck: Callable[[], None] = lambda: None, stuck_after_s: float = 60.0
    ) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._on_stuck = on_stuck
        self._stuck_after_s = stuck_after_s

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` to its end on the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def stream(
        self, produce: Callable[[threading.Event], Generator[T, None, None]]
    ) -> AsyncGenerator[T, None]:
        """Yield what a generator yields on the thread, as it comes.

        Closing the stream sets the event that the generator was given, and closes the generator at
        its next item. It does not wait for that: the thread itself is what keeps other work off the
        engine until then. The generator runs ahead of its reader, so it must be bounded by itself.
        """
        loop = asyncio.get_running_loop()
        cancelled, running = threading.Event(), threading.Event()
        items: asyncio.Queue[T | None] = asyncio.Queue()

        def pump() -> None:
            running.set()
            try:
                if cancelled.is_set():
                    return
                with closing(produce(cancelled)) as produced:
                    for item in produced:
                        if cancelled.is_set():
                            return
                        loop.call_soon_threadsafe(items.put_nowait, item)
            finally:
                running.clear()

        pumping = loop.run_in_executor(self._executor, pump)
        pumping.add_done_callback(lambda _: items.put_nowait(None))
        try:
            while (item := await items.get()) is not None:
                yield item
            pumping.result()
        finally:
            cancelled.set()
            if not pumping.cancel() and not pumping.cancelled():
                pumping.exception()  # seen, so that asyncio does not report it as forgotten
            self.watch_abandoned(running)

    def watch_abandoned(self, running: threading.Event) -> None:
        """A job was abandoned: if its `running` is still set later, the thread is stuck."""
        if running.is_set():
            asyncio.get_running_loop().call_later(self._stuck_after_s, self._check, running)

    def close(self) -> None:
        """Drop the jobs that have not begun and wait for the one that has."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _check(self, running: threading.Event) -> None:
        if running.is_set():
            self._on_stuck()
